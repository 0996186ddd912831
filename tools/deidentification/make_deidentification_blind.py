"""Make a second blind split of the de-identification test set, sharing nothing with the first set.

    python tools/deidentification/make_deidentification_blind.py ../shared/data EXISTING_SET OUT

Sentences of real consultations (MIT and Apache-2.0 sources) that the existing set does not hold are carriers; invented
personal data goes into them by templates of parents' chats, doctors' notes and transcripts without punctuation. Names,
numbers, places and templates that the existing set uses are left out by comparison. The same inputs give the same
bytes.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import random
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from deidentification_blind_values import LISTS, WORDS, Row, Values

SEED = 20261122
COUNTS = {
    "patient_name": 200, "parent_name": 110, "doctor_name": 110, "surname_title": 84, "nickname": 120, "phone": 84,
    "landline": 60, "id_card": 68, "wechat": 62, "qq": 64, "email": 64, "address": 90, "school": 70, "bed": 68,
    "record_number": 90, "vaccination": 64, "birth_certificate": 64, "plate": 64, "bank_card": 64, "url": 64,
    "birth_date": 72,
}  # fmt: skip
MIXED_ROUNDS = 4
NEGATIVES = 500
VOICE = 0.13
Segment = tuple[str, str | None]
Carrier = tuple[str, str, str]


# --- carriers -----------------------------------------------------------------------------------------------------

PERSONAL = re.compile(
    r"\d{5}|[０-９]{5}|@|http|www|QQ|qq|微信|加我|电话|手机|身份证|住院号|门诊号|病历号|姓名|名叫|大名|小名|我叫|我姓|[男女]孩?叫"
    r"|先生|女士|小姐|出生[于年日]|生日|生于|XX|××|某|网址|地址|扣扣|车牌|\*|[\u4e00-\u9fff](?:医生|大夫|主任|教授|老师|院长)[:：]"
    r"|县|镇|村|小区|街道|医大|附院|[\u4e00-\u9fff]{2}[市区][\u4e00-\u9fff]{0,8}医院[ ，、]?[\u4e00-\u9fff]{0,3}科$"
    r"|\d[号楼]楼|床$|幼儿园|<|\||�|[a-zA-Z]{8}"
)
SURNAMES = "".join(WORDS["common_surnames"] + WORDS["rare_surnames"])
TITLED = re.compile(
    f"[{SURNAMES}](?:医生|大夫|医师|主任|教授|老师|院长|护士|专家|阿姨|叔|哥|姐|总|某|同学)"
    r"|(?<![\u4e00-\u9fff])[\u4e00-\u9fff]{1,3}(?:主任|教授|大夫|院长|护士长)|老[王李张刘陈杨赵黄周吴]"
)


def carriers(folder: Path, taken: str) -> list[Carrier]:
    """Sentences of 10 to 70 characters without a trace of personal data that `taken` does not contain."""
    found: dict[str, Carrier] = {}
    barred = set(LISTS["barred"])
    for text, source, licence in _texts(folder):
        for piece in re.split(r"(?<=[。！？?!；\n])", text):
            sentence = re.sub(r"\s+", " ", piece).strip(" `、，")
            if not 10 <= len(sentence) <= 70 or sentence in barred or _held(sentence, taken):
                continue
            if not PERSONAL.search(sentence) and len(re.findall(r"[\u4e00-\u9fff]", sentence)) >= 8:
                found.setdefault(sentence, (sentence, source, licence))
    return [found[sentence] for sentence in sorted(found)]


def _held(sentence: str, taken: str) -> bool:
    """Whether the existing set holds the sentence or a long clause of it."""
    clauses = [clause for clause in re.split("[，。！？；]", sentence) if len(clause) >= 14]
    return any(part in taken for part in [sentence.strip("。！？?!；"), *clauses])


def _texts(folder: Path) -> Iterator[tuple[str, str, str]]:
    talks = folder / "dialogues"
    for row in json.loads((talks / "cmtmedqa_test.json").read_text(encoding="utf-8")):
        turns = [row.get(key) or "" for key in ("instruction", "input", "output", "instruct")]
        for turn in [*turns, *(turn for pair in row.get("history") or [] for turn in pair)]:
            yield turn, "cmtmedqa_test.json", "Apache-2.0"
    for line in (talks / "hetmc_train.dialog").read_text(encoding="utf-8").splitlines():
        cells = line.split("\t")
        if cells[0] in {"P", "D"} and len(cells) > 1:
            yield cells[1], "hetmc_train.dialog", "MIT"
    remedi = (talks / "remedi_dev_human.txt").read_text(encoding="utf-8")
    for turn in re.findall(r"<\|(?:currentuser|response)\|>(.*?)<\|", remedi):
        yield turn, "remedi_dev_human.txt", "MIT"
    table = (talks / "cmd_internal_medicine_sample.csv").read_text(encoding="gb18030")
    for cells_by_name in csv.DictReader(io.StringIO(table)):
        for key in ("title", "ask", "answer"):
            yield cells_by_name[key] or "", "cmd_internal_medicine_sample.csv", "MIT"
    for case in json.loads((folder / "benchmarks/huatuogpt_med_dialog_100.json").read_text(encoding="utf-8")):
        for key in ("medical_case", "doctor_diagnosis"):
            yield case[key], "huatuogpt_med_dialog_100.json", "Apache-2.0"


# --- sentences ----------------------------------------------------------------------------------------------------


def templates(kind: str) -> list[str]:
    """The templates of one type, its slot written as {kind}."""
    return [template.replace("{}", f"{{{kind}}}") for template in LISTS["templates"][kind]]


def bare(template: str) -> str:
    """A template without slot names, spaces, punctuation and case: what is compared for sharing."""
    return re.sub(r"[\s，。：:/]", "", re.sub(r"\{\w*\}", "{}", template)).lower()


def fill(template: str, values: Values) -> list[Segment]:
    segments: list[Segment] = []
    for part in re.split(r"(\{\w+\})", template):
        slot = part[1:-1] if part.startswith("{") else ""
        if slot == "bank":
            segments.append((values.rng.choice(WORDS["banks"]), None))
        elif slot:
            segments.append((values(slot), slot))
        elif part:
            segments.append((part, None))
    return segments


def place(clause: list[Segment], carrier: str, rng: random.Random) -> list[Segment]:
    """The clause before, after or inside the carrier; some rows as a transcript without punctuation."""
    comma = carrier.find("，") if "（" not in carrier[: carrier.find("，") + 1] else -1
    roll, gap = rng.random(), rng.choice(["，", "，", "。", " ", "；", "\n"])
    if roll < 0.45:
        segments = [*clause, (gap + carrier, None)]
    elif roll < 0.8 or comma < 4:
        segments = [(carrier + ("" if carrier[-1] in "。！？?!；" else gap), None), *clause]
    else:
        segments = [(carrier[: comma + 1], None), *clause, (carrier[comma:], None)]
    if rng.random() >= VOICE:
        return segments
    blank = rng.choice(["", " "])
    bared = [(t if kind else re.sub("[，。！？、；：\n]", blank, t), kind) for t, kind in segments]
    return [(rng.choice(["", "嗯", "那个", "哎医生"]), None), *_apart(bared)]


def _apart(segments: list[Segment]) -> Iterator[Segment]:
    """A space where digits or Latin letters of two segments would run together."""
    before = ""
    for text, kind in segments:
        if re.match(r"[!-~！-～]", before[-1:]) and re.match(r"[!-~！-～]", text):
            yield " ", None
        yield text, kind
        before = text or before


def row(template: str, values: Values, carrier: Carrier) -> Row:
    text, items = "", []
    for part, kind in place(fill(template, values), carrier[0], values.rng):
        if kind:
            items.append({"start": len(text), "end": len(text) + len(part), "type": kind})
        text += part
    return {"split": "blind", "text": text, "items": items, "template": template} | _origin(carrier)


def _origin(carrier: Carrier) -> Row:
    return {"source": carrier[1], "licence": carrier[2]}


def positives(pool: list[Carrier], existing: list[Row], rng: random.Random) -> Iterator[Row]:
    values = Values(existing, rng)
    taken = {bare(str(old["template"])) for old in existing}
    for kind, count in COUNTS.items():
        own = [template for template in templates(kind) if bare(template) not in taken]
        for _ in range(count):
            template = values.deal(f"template {kind}", own)
            yield row(template, values, pool.pop())
    for template in LISTS["templates"]["mixed"] * MIXED_ROUNDS:
        if bare(template) not in taken:
            yield row(template, values, pool.pop())


def negatives(pool: list[Carrier], rng: random.Random) -> Iterator[Row]:
    """Real sentences without personal data that look as if they held some; those about children first."""
    child = re.compile("孩|宝|儿|疫苗|奶粉|岁")
    quota, left = NEGATIVES // len(LISTS["hard"]) + 1, NEGATIVES
    for name, patterns in LISTS["hard"].items():
        fitting = [carrier for carrier in pool if re.search("|".join(patterns), carrier[0])]
        fitting.sort(key=lambda carrier: not child.search(carrier[0]))
        head = fitting[: 3 * quota]
        rng.shuffle(head)
        for carrier in head[: min(quota, left)]:
            pool.remove(carrier)
            left -= 1
            yield {"split": "blind", "text": carrier[0], "items": [], "template": name} | _origin(carrier)
    for _ in range(left):
        carrier = pool.pop()
        yield {"split": "blind", "text": carrier[0], "items": [], "template": "any"} | _origin(carrier)


def main() -> None:
    folder, existing_path, out = (Path(argument) for argument in sys.argv[1:4])
    old = [json.loads(line) for line in existing_path.read_text(encoding="utf-8").splitlines()]
    existing = [old_row for old_row in old if not str(old_row["id"]).startswith("b")]
    rng = random.Random(SEED)
    pool = carriers(folder, "\n".join(str(old_row["text"]) for old_row in existing))
    pool.sort(key=lambda carrier: hashlib.sha256(f"{SEED}{carrier[0]}".encode()).digest())
    pool.sort(key=lambda carrier: bool(re.search("孩|宝|小儿|儿子|女儿|疫苗|患儿|新生儿|奶", carrier[0])))
    half = [carrier for carrier in pool if not TITLED.search(carrier[0])]
    rows = [*negatives(half, rng), *positives(half, existing, rng)]
    rng.shuffle(rows)
    with out.open("w", encoding="utf-8") as file:
        for n, made in enumerate(rows, 1):
            file.write(json.dumps({"id": f"b{n:04}"} | made, ensure_ascii=False) + "\n")
    print(f"{len(rows)} rows, {sum(not made['items'] for made in rows)} without personal data: {out}")


if __name__ == "__main__":
    main()
