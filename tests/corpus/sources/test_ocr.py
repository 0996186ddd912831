"""Scans and images by OCR, measured against the text that was printed."""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from pediatricsgpt.errors import UserError
from tests.corpus.sources.pages import Page, pdf

Read = Callable[..., Any]
Make = Callable[..., Path]
FONTS = Path("/usr/share/fonts/opentype/noto/NotoSansCJK-Regular.ttc")
GUIDE = [
    "小儿发热诊疗指南",
    "一、定义",
    "体温超过 38.5℃ 且持续 3 天以上者应当就诊，不满 3 个月的婴",
    "儿发热应当立即就诊。",
    "二、治疗",
    "对乙酰氨基酚每次 10～15 mg/kg，两次间隔不少于 4 小时；不应",
    "与同类药物合用。",
]
SECTIONS = [
    (["小儿发热诊疗指南", "一、定义"], "体温超过38.5℃且持续3天以上者应当就诊，不满3个月的婴儿发热应当立即就诊。"),
    (["小儿发热诊疗指南", "二、治疗"], "对乙酰氨基酚每次10～15mg/kg，两次间隔不少于4小时；不应与同类药物合用。"),
]


def squeeze(text: str) -> str:
    """Without spaces, which OCR does not see, and with one kind of wave."""
    return re.sub(r"\s", "", text).replace("~", "～")


def sheet(lines: Sequence[str], angle: float = 0.0) -> Any:
    """A printed page, lying a little askew."""
    from PIL import Image, ImageDraw, ImageFont

    if not FONTS.is_file():
        pytest.skip(f"needs the font {FONTS}")
    picture = Image.new("RGB", (1240, 100 + 70 * len(lines)), "white")
    draw, font = ImageDraw.Draw(picture), ImageFont.truetype(str(FONTS), 36, index=2)
    for place, line in enumerate(lines):
        draw.text((80, 50 + 70 * place), line, "black", font)
    return picture.rotate(angle, fillcolor="white")


def encoded(picture: Any, kind: str, **more: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **more)
    return buffer.getvalue()


@pytest.mark.check
@pytest.mark.parametrize(("name", "kind"), [("a.png", "PNG"), ("a.jpg", "JPEG"), ("a.tif", "TIFF")])
def test_an_image_of_a_page_is_read_with_its_sections(read: Read, make: Make, name: str, kind: str) -> None:
    records, rejects = read(make(name, encoded(sheet(GUIDE, 0.5), kind)), "guideline")
    assert not rejects
    assert [(record.title, squeeze(record.text)) for record in records] == SECTIONS
    assert {record.source.locator.page for record in records} == {1}
    assert {record.steps[-1].name for record in records} == {"ocr"}


@pytest.mark.check
def test_a_printed_table_stays_a_table(read: Read, make: Make) -> None:
    from PIL import ImageDraw, ImageFont

    picture = sheet(["小儿退热药剂量表及使用指南", "一、剂量", "", "", "", "二、注意", "肝功能不全者慎用。"])
    draw, font = ImageDraw.Draw(picture), ImageFont.truetype(str(FONTS), 36, index=2)
    rows = [["药物", "单次剂量", "间隔"], ["布洛芬", "5 mg/kg", "6 h"], ["对乙酰氨基酚", "10 mg/kg", "4 h"]]
    for number, row in enumerate(rows):
        for column, cell in enumerate(row):
            draw.text((80 + 380 * column, 190 + 70 * number), cell, "black", font)
    records, _ = read(make("a.png", encoded(picture, "PNG")), "guideline")
    assert [squeeze(record.text) for record in records] == [
        "|药物|单次剂量|间隔||---|---|---||布洛芬|5mg/kg|6h||对乙酰氨基酚|10mg/kg|4h|",
        "肝功能不全者慎用。",
    ]


@pytest.mark.check
def test_every_frame_of_a_tiff_is_a_page(read: Read, make: Make) -> None:
    first, second = sheet(GUIDE[:4]), sheet(GUIDE[4:])
    path = make("a.tiff", encoded(first, "TIFF", save_all=True, append_images=[second]))
    records, _ = read(path, "guideline")
    assert [(record.title[-1], record.source.locator.page) for record in records] == [("一、定义", 1), ("二、治疗", 2)]


@pytest.mark.check
def test_scanned_pages_between_others_are_read_and_marked(read: Read, make: Make) -> None:
    import pypdfium2

    texts = [(60.0, 100.0, "一、病因"), (60.0, 130.0, "多数发热由病毒感染引起，少数由细菌感染引起。")]
    document = pypdfium2.PdfDocument(encoded(sheet(["二、治疗", "应当多饮水，注意休息，必要时就诊。"]), "PDF"))
    mixed = pypdfium2.PdfDocument.new()
    mixed.import_pages(pypdfium2.PdfDocument(pdf(Page(texts))))
    mixed.import_pages(document)
    buffer = io.BytesIO()
    mixed.save(buffer)
    records, rejects = read(make("mixed.pdf", buffer.getvalue()), "guideline")
    assert not rejects
    assert [(record.title[-1], record.source.locator.page, record.steps[-1].name) for record in records] == [
        ("一、病因", 1, "read"),
        ("二、治疗", 2, "ocr"),
    ]


@pytest.mark.check
def test_a_page_that_cannot_be_read_well_is_a_reject_with_its_confidence(read: Read, make: Make) -> None:
    from PIL import ImageFilter

    blurred = sheet(GUIDE).filter(ImageFilter.GaussianBlur(11))
    path = make("a.tif", encoded(sheet(GUIDE), "TIFF", save_all=True, append_images=[blurred]))
    records, rejects = read(path, "guideline")
    assert [squeeze(record.text) for record in records] == [text for _, text in SECTIONS]
    assert [(reject.where, reject.reason.split(":")[0]) for reject in rejects] in (
        [("a.tif, page 2", "low confidence")],
        [("a.tif, page 2", "page without text")],
    )
    with pytest.raises(UserError, match=r"nothing on the image can be read: (low confidence|page without text)"):
        read(make("b.png", encoded(blurred, "PNG")), "guideline")


@pytest.mark.check
def test_the_scan_of_a_guideline_says_what_its_text_layer_says(read: Read, shared: Path) -> None:
    import pypdfium2

    folder = shared / "data" / "guidelines"
    whole = pypdfium2.PdfDocument(next((folder / "nhc_pdf").glob("*.pdf")))
    printed = "".join(whole[page].get_textpage().get_text_range().replace("\ufffe", "-") for page in range(6))
    printed = squeeze(re.sub(r"- \d+ -", "", printed))
    records, rejects = read(folder / "derived" / "儿童肺炎支原体肺炎诊疗指南_p1-6_scan.pdf", "guideline")
    assert not rejects
    headings = ["一、定义", "二、发病机制", "三、病理表现", "四、临床表现", "五、影像学表现"]
    headings += ["六、可弯曲支气管镜下表现", "七、实验室检查"]
    assert list(dict.fromkeys(record.title[1] for record in records if len(record.title) > 1)) == headings
    assert [record.source.locator.page for record in records] == [1, 1, 2, 3, 3, 4, 5, 5, 6, 6]
    said, seen = "", set()
    for record in records:
        for depth in range(1, len(record.title) + 1):
            if tuple(record.title[:depth]) not in seen:
                seen.add(tuple(record.title[:depth]))
                said += record.title[depth - 1]
        said += record.text
    errors = distance(printed, squeeze(said))
    assert len(printed) > 3000
    assert errors / len(printed) <= 0.02


def distance(first: str, second: str) -> int:
    """Edit distance (Levenshtein)."""
    row = list(range(len(second) + 1))
    for number, left in enumerate(first, 1):
        above, row = row, [number]
        for place, right in enumerate(second, 1):
            row.append(min(above[place] + 1, row[-1] + 1, above[place - 1] + (left != right)))
    return row[-1]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"no image at all", "not an image file"),
        (b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR", "not an image file|damaged or cut off"),
        (lambda: encoded(sheet(GUIDE), "PNG")[:3000], "damaged or cut off"),
    ],
)
def test_what_is_no_image_is_an_error(
    read: Read, make: Make, content: bytes | Callable[[], bytes], message: str
) -> None:
    path = make("a.png", content() if callable(content) else content)
    with pytest.raises(UserError, match=message) as error:
        read(path, "guideline")
    assert error.value.where == str(path)


def test_a_missing_engine_says_what_to_install(read: Read, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    from pediatricsgpt.corpus.sources import ocr

    ocr._engine.cache_clear()
    monkeypatch.setitem(sys.modules, "rapidocr", None)
    with pytest.raises(UserError, match=r"pip install 'pediatricsgpt\[ocr\]'"):
        read(make("a.png", encoded(sheet(GUIDE), "PNG")), "guideline")
