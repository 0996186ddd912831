"""Real sentences of the bundle's dialogues for the fifth blind set, with the voice that speaks them."""

import csv
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

MIT, APACHE = "MIT", "Apache-2.0"
_END = re.compile(r"(?<=[。！？!?；\n])")
_TAG = re.compile(r"<\|[a-z]+\|>")
# A sentence that could carry personal data of its own, or is broken, is never drawn.
_DOUBT = re.compile(
    r"\d{6,}|https?|www|@|微信|QQ|扣扣|电话|手机|我叫|名叫|[日号]出?生|月份?出?生的|生日|生于|姓名|小区|街道|[路街巷]\d|\d号楼|病床|床号|某|\[|\]|<|>|&|图片|语音|"
    r"我是[^，。]{2,3}医生|[A-Za-z]{14,}|�|[\ue000-\uf8ff]|\n"
)


def _cmd(path: Path) -> Iterator[tuple[str, str]]:
    for row in csv.DictReader(io.StringIO(path.read_text(encoding="gb18030"))):
        yield "family", row["ask"] or ""
        yield "doctor", row["answer"] or ""


def _plain(path: Path) -> Iterator[tuple[str, str]]:
    for block in path.read_text(encoding="gb18030").split("\n\n\n"):
        question, _, answer = block.strip().partition("\n")
        yield "family", question.partition(",")[2]
        yield "doctor", answer


def _hetmc(path: Path) -> Iterator[tuple[str, str]]:
    for line in path.read_text(encoding="utf-8").splitlines():
        fields = line.split("\t")
        if fields[0] in ("P", "D") and len(fields) > 1:
            yield ("family" if fields[0] == "P" else "doctor"), fields[1].replace("`", "，")


def _remedi(path: Path) -> Iterator[tuple[str, str]]:
    for line in path.read_text(encoding="utf-8").splitlines():
        for voice, mark in (("family", "currentuser"), ("doctor", "response")):
            for text in re.findall(rf"<\|{mark}\|>(.*?)<\|endof{mark}\|>", line):
                yield voice, _TAG.sub("", text).strip()


def _cmtmedqa(path: Path) -> Iterator[tuple[str, str]]:
    for row in json.loads(path.read_text(encoding="utf-8")):
        turns = [*row.get("history", []), [row.get("instruction") or row.get("instruct", ""), row.get("output", "")]]
        for question, answer in turns:
            yield "family", question
            yield "doctor", answer


def _huatuo(path: Path) -> Iterator[tuple[str, str]]:
    for row in json.loads(path.read_text(encoding="utf-8")):
        yield "family", " ".join(row["instruction"])
        yield "doctor", " ".join(row["output"])


def _lines(path: Path) -> Iterator[Any]:
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.strip():
            yield json.loads(line)


def _bencao(path: Path) -> Iterator[tuple[str, str]]:
    for row in _lines(path):
        yield "note", row["instruction"]
        yield "note", row["output"]


def _medchatglm(path: Path) -> Iterator[tuple[str, str]]:
    for row in _lines(path):
        yield "note", row["context"].removeprefix("问题：").removesuffix("\n回答: ")
        yield "note", row["target"]


def _sharegpt(path: Path) -> Iterator[tuple[str, str]]:
    for row in _lines(path):
        for turn in row["conversations"]:
            yield ("family" if turn["from"] == "human" else "doctor"), turn["value"]


def _disc(path: Path) -> Iterator[tuple[str, str]]:
    for row in _lines(path):
        for turn in row["conversation"]:
            yield ("family" if turn["role"] == "user" else "doctor"), turn["content"]


def _cases(path: Path) -> Iterator[tuple[str, str]]:
    for row in json.loads(path.read_text(encoding="utf-8")):
        yield "note", row["case"]


_SOURCES = (
    ("dialogues/cmd_internal_medicine_sample.csv", MIT, _cmd),
    ("dialogues/cmd_internal_medicine_plain.txt", MIT, _plain),
    ("dialogues/hetmc_train.dialog", MIT, _hetmc),
    ("dialogues/remedi_dev_human.txt", MIT, _remedi),
    ("dialogues/cmtmedqa_test.json", APACHE, _cmtmedqa),
    ("distilled/huatuo26m_test.json", APACHE, _huatuo),
    ("distilled/bencao_llama_data.jsonl", APACHE, _bencao),
    ("distilled/medchatglm_train.txt", APACHE, _medchatglm),
    ("distilled/medicalgpt_sft_sharegpt.jsonl", APACHE, _sharegpt),
    ("distilled/disc_medsft_examples.jsonl", APACHE, _disc),
    ("benchmarks/cmb_clin_cases.json", APACHE, _cases),
)


def bare(text: str) -> str:
    """Only letters, digits and Chinese characters: what two sentences are compared by."""
    return re.sub(r"[\W_]+", "", text)


def windows(text: str, width: int = 12) -> set[str]:
    """All pieces of `width` characters of the bare text (the whole of it where it is shorter)."""
    key = bare(text)
    return {key[i : i + width] for i in range(max(1, len(key) - width + 1))}


def sentences(data: Path) -> list[dict[str, str]]:
    """Every usable sentence of the bundle once: text, voice (family, doctor, note), source, licence."""
    seen: set[str] = set()
    found: list[dict[str, str]] = []
    for name, licence, reader in _SOURCES:
        for voice, text in reader(data / name):
            for piece in _END.split(text):
                sentence = piece.strip().rstrip("；;").lstrip("，,、.。；;：: ")
                key = bare(sentence)
                if not 9 <= len(sentence) <= 64 or len(key) < 8 or key in seen or _DOUBT.search(sentence):
                    continue
                seen.add(key)
                found.append({"text": sentence, "voice": voice, "source": Path(name).name, "licence": licence})
    return found
