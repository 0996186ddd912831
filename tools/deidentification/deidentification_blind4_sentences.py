"""Real sentences for the fourth blind set: read from the openly licensed dialogues, cleaned, cut and sifted."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

_CHINESE_RUN = re.compile(r"[^\u4e00-\u9fff]+")
_GRAM = 10
_PEDIATRIC = re.compile(r"孩|宝宝|宝贝|儿子|女儿|闺女|小儿|婴|幼儿|我娃|孙子|孙女|娃|个月大|新生儿|奶粉|母乳|疫苗|长牙")
_SYMPTOM = re.compile(
    r"烧|咳|痰|鼻涕|鼻塞|腹泻|拉肚|便秘|呕|吐|疹|痒|喘|哭|抽搐|黄疸|湿疹|口腔|扁桃|肺炎|支气管|感冒|积食|肚子|耳朵|嗓|头疼|头痛"
    r"|牙|睡|出汗|过敏|感染|检查|化验|吃药|输液|恶心|食欲|发炎|怎么办|严重吗"
)


@dataclass(frozen=True)
class Sentence:
    """A real sentence; speaker: P (parent or patient) or D (doctor); source: file; licence: of that file."""

    text: str
    speaker: str
    source: str
    licence: str


def _cut(text: str, speaker: str, source: str, licence: str) -> Iterator[Sentence]:
    """The text's sentences of 8 to 60 characters."""
    for part in re.split(r"(?<=[。！？!?\n])", text.replace("`", "，")):
        whole = re.sub(r"\s+", " ", part).strip(" ，,")
        if 8 <= len(whole) <= 60 and not re.search(r"[<>&\ue000-\uf8ff{}|]", whole):
            yield Sentence(whole, speaker, source, licence)


def _read_cmd(path: Path) -> Iterator[Sentence]:
    rows = csv.DictReader(io.StringIO(path.read_bytes().decode("gb18030")))
    for row in rows:
        for column, speaker in (("title", "P"), ("ask", "P"), ("answer", "D")):
            yield from _cut(row[column], speaker, path.name, "MIT")


def _read_hetmc(path: Path) -> Iterator[Sentence]:
    for line in path.read_text(encoding="utf-8").splitlines():
        fields = line.split("\t")
        if fields[0] in ("P", "D") and len(fields) > 2:
            yield from _cut(fields[1], fields[0], path.name, "MIT")


def _read_remedi(path: Path) -> Iterator[Sentence]:
    text = path.read_text(encoding="utf-8")
    marks = (("currentuser", "endofcurrentuser", "P"), ("response", "endofresponse", "D"))
    for opening, closing, speaker in marks:
        for turn in re.findall(rf"<\|{opening}\|>(.*?)<\|{closing}", text):
            yield from _cut(turn, speaker, path.name, "MIT")


def _read_cmtmedqa(path: Path) -> Iterator[Sentence]:
    for row in json.loads(path.read_text(encoding="utf-8")):
        for question, answer in row.get("history") or []:
            yield from _cut(question, "P", path.name, "Apache-2.0")
            yield from _cut(answer, "D", path.name, "Apache-2.0")
        yield from _cut(row.get("instruction") or "", "P", path.name, "Apache-2.0")


def _read_huatuo(path: Path) -> Iterator[Sentence]:
    for row in json.loads(path.read_text(encoding="utf-8")):
        yield from _cut(row["instruction"][0], "P", path.name, "Apache-2.0")
        yield from _cut(row["output"][0], "D", path.name, "Apache-2.0")


def read_sentences(data: Path) -> list[Sentence]:
    """All different sentences of the bundle's openly licensed dialogues, in the order of the files."""
    readers = (
        _read_hetmc(data / "dialogues/hetmc_train.dialog"),
        _read_remedi(data / "dialogues/remedi_dev_human.txt"),
        _read_cmd(data / "dialogues/cmd_internal_medicine_sample.csv"),
        _read_cmtmedqa(data / "dialogues/cmtmedqa_test.json"),
        _read_huatuo(data / "distilled/huatuo26m_test.json"),
    )
    found: dict[str, Sentence] = {}
    for reader in readers:
        for sentence in reader:
            found.setdefault(_CHINESE_RUN.sub("", sentence.text), sentence)
    return list(found.values())


def grams(text: str) -> set[str]:
    """The text's runs of ten Chinese characters, punctuation and digits left out (the whole when it is shorter)."""
    pure = _CHINESE_RUN.sub("", text)
    return {pure[i : i + _GRAM] for i in range(max(1, len(pure) - _GRAM + 1))}


def earlier_grams(paths: Sequence[Path]) -> set[str]:
    """The runs of ten characters of every text of the earlier sets, of which only the field "text" is read."""
    seen: set[str] = set()
    for path in paths:
        for line in path.read_text(encoding="utf-8").splitlines():
            seen |= grams(json.loads(line)["text"])
    return seen


def rank(sentence: Sentence) -> int:
    """0 for a sentence about a child, 1 for one about a symptom or a visit, 2 for any other."""
    return 0 if _PEDIATRIC.search(sentence.text) else 1 if _SYMPTOM.search(sentence.text) else 2


def halves(text: str) -> tuple[str, str] | None:
    """The sentence cut at its first comma that leaves at least four characters on both sides."""
    for match in re.finditer(r"[，,]", text):
        left, right = text[: match.start()], text[match.end() :].strip()
        if len(left) >= 4 and len(right) >= 4:
            return left, right
    return None
