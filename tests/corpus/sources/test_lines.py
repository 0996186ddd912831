from __future__ import annotations

import resource
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pediatricsgpt.corpus.sources import lines
from pediatricsgpt.corpus.sources.lines import BadLine, is_utf8, read_lines

TEXT = "孩子发烧三天了，体温三十九度，怎么办？\n多饮水，注意休息。\n\nCRP 10 mg/L\n"


def read(path: Path) -> list[str]:
    return [line if isinstance(line, str) else line.reason for _, line in read_lines(path, Counter())]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030", "big5", "utf-16"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_every_usual_encoding_and_line_end_gives_the_same_lines(tmp_path: Path, encoding: str, end: str) -> None:
    text = TEXT
    if encoding == "big5":
        text = "孩子發燒三天了，體溫三十九度，怎麼辦？\n多飲水，注意休息。\n\nCRP 10 mg/L\n"
    path = tmp_path / "a.txt"
    path.write_bytes(text.replace("\n", end).encode(encoding))
    encodings: Counter[str] = Counter()
    found = list(read_lines(path, encodings))
    while found[-1][1] == "":
        found.pop()
    assert found == list(enumerate(text.rstrip("\n").split("\n"), 1))
    assert set(encodings) == {encoding.removesuffix("-sig")}


@given(st.lists(st.text(alphabet='儿科发热，。ab 1"', max_size=40), min_size=1, max_size=30), st.integers(1, 40))
def test_lines_do_not_depend_on_where_the_file_is_cut_for_reading(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str], chunk: int
) -> None:
    path = tmp_path_factory.mktemp("lines") / "a.txt"
    path.write_text("\n".join(texts), encoding="utf-8", newline="")
    whole = read(path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lines, "_CHUNK", chunk)
        assert read(path) == whole
    expected = "\n".join(texts).split("\n")
    assert whole == (expected if expected[-1] else expected[:-1])  # the end of the last line is no line


def test_a_line_of_200_mb_is_never_held(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    with path.open("wb") as file:
        file.write(b'{"a": 1}\n{"text": "')
        for _ in range(200):
            file.write(b"x" * 2**20)
        file.write(b'"}\n{"a": 2}\n')
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = list(read_lines(path, Counter()))
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert found == [
        (1, '{"a": 1}'),
        (2, BadLine("line too long: 200 MB, at most 32 are read")),
        (3, '{"a": 2}'),
    ]
    assert grown < 120


def test_gb18030_that_is_utf8_by_chance_is_not_taken_for_it(tmp_path: Path) -> None:
    word = "小小".encode("gb18030")
    assert word.decode("utf-8")  # valid, and not meant
    assert not is_utf8(word)
    path = tmp_path / "a.txt"
    path.write_bytes("患儿发热三天，伴有咳嗽。\n小小\n".encode("gb18030"))
    assert read(path) == ["患儿发热三天，伴有咳嗽。", "小小"]


def test_a_minority_in_another_encoding_is_read_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    common, other = "患儿发热三天，伴有咳嗽。", "建议多饮水，注意休息。"
    for main, stray in (("gb18030", "utf-8"), ("utf-8", "gb18030")):
        path.write_bytes(b"\n".join([common.encode(main)] * 5 + [other.encode(stray)] + [common.encode(main)]))
        encodings: Counter[str] = Counter()
        assert [line for _, line in read_lines(path, encodings)] == [common] * 5 + [other, common]
        assert encodings == {main: 6, stray: 1}


def test_a_damaged_line_is_bad_and_not_nonsense(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    good = "患儿发热三天，伴有咳嗽。".encode()
    path.write_bytes(b"\n".join([good, good[:-1], good[:9] + b"\xff" + good[9:], good]))
    assert read(path) == [
        good.decode(),
        "broken encoding: byte 34 of the line is not utf-8",
        "broken encoding: byte 10 of the line is not utf-8",
        good.decode(),
    ]


def test_traditional_lines_are_read_in_either_encoding(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    simplified, traditional = "患儿发热三天，伴有咳嗽。", "孩子發燒三天了，體溫三十九度，怎麼辦？"
    for encoding in ("big5", "gb18030"):
        path.write_bytes(b"\n".join([simplified.encode("gb18030")] * 5 + [traditional.encode(encoding)]))
        assert read(path)[-1] == traditional


def test_marks_of_joined_files_are_no_text(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes("甲\n".encode("utf-8-sig") * 3)
    assert read(path) == ["甲"] * 3


def test_what_is_no_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(bytes(range(128, 256)) * 50)
    with pytest.raises(ValueError, match="encoding"):
        read(path)


@pytest.mark.parametrize("codec", ["utf-16-le", "utf-16-be"])
def test_utf16_without_a_mark_is_read_line_by_line(tmp_path, codec) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes("question: 孩子发烧\nanswer: 量体温\n".encode(codec))
    assert [text for _, text in read_lines(path, Counter())] == ["question: 孩子发烧", "answer: 量体温"]


def test_one_broken_line_of_gb18030_is_the_only_bad_one(tmp_path) -> None:
    good = [f"第{n}个孩子发烧三天，咳嗽有痰，食欲不好".encode("gb18030") for n in range(6)]
    path = tmp_path / "a.txt"
    path.write_bytes(b"\n".join([*good[:3], b"\xff\xff\xff\x81", *good[3:]]))
    found = list(read_lines(path, Counter()))
    assert [number for number, text in found if isinstance(text, BadLine)] == [4]


def test_lines_in_big5_among_gb18030_are_read(tmp_path) -> None:
    lines = ["孩子发烧三天，应该怎么办才好呢", "小孩發燒三天，應該怎麼辦才好呢", "宝宝咳嗽有痰，食欲不好"]
    path = tmp_path / "a.txt"
    path.write_bytes(b"\n".join([lines[0].encode("gb18030"), lines[1].encode("big5"), lines[2].encode("gb18030")]))
    assert [text for _, text in read_lines(path, Counter())] == lines
