"""Make a third blind split of the de-identification test set, sharing nothing with the earlier sets.

    python tools/deidentification/make_deidentification_blind3.py ../shared/data OUT EXISTING_SET...

Carriers are sentences of real consultations (MIT and Apache-2.0 sources) that no existing set holds, chosen by who
writes them: a parent, a doctor, a nurse or the registration desk, a voice transcript. Templates and values are in
deidentification_blind3.yaml; what an existing set uses is left out by comparison. The same inputs give the same bytes.
"""

from __future__ import annotations

import hashlib
import json
import random
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from deidentification_blind3_numbers import DATA
from deidentification_blind3_values import Values, key
from make_deidentification_blind import PERSONAL, TITLED, Carrier, _held, _texts, bare

SEED = 20261203
COUNTS = {
    "patient_name": 95, "parent_name": 80, "doctor_name": 84, "surname_title": 78, "nickname": 98, "phone": 54,
    "landline": 48, "id_card": 50, "wechat": 50, "qq": 50, "email": 48, "address": 68, "school": 66, "bed": 66,
    "record_number": 64, "vaccination": 50, "birth_certificate": 50, "plate": 50, "bank_card": 50, "url": 50,
    "birth_date": 62,
    "mixed": 80,
}  # fmt: skip
NEGATIVES = {"clause": 90, "look": 130, "plain": 80}
CHILD = re.compile("孩|宝宝|我家宝|小儿|儿子|女儿|疫苗|患儿|新生儿|婴儿|幼儿|个月大|儿科|辅食|闺女|外孙")
# sentences of the sources that are machine-paraphrased, about adults alone, or name a town
UNFIT = re.compile(
    "疫苗麻醉|麻醉.{0,4}(?:疫苗|免疫|球蛋白)|麻醉药水|我是一[个名位]|性生活|手淫|阴茎|阳痿|做爱|艾滋|上海|北京|海南|长春|协和|地区|[一二三]院|"
    "[:：]$|月[一二三四五六七八九十\\d]+[日号]生|（[男女]，\\d+岁）|仲景"
)
DOCTOR = re.compile("您|建议|可以考虑|需要注意|应该|治疗|检查|避免|患者|一般来说")
PARENT = re.compile("我|吗|怎么|啊|咋|呢|孩子|宝宝")
# what daily sentences hold that a rule could take for personal data
LOOKS = re.compile(
    r"医生|主任|大夫|专家|护士|妈妈|爸爸|奶奶|\d{2,}|[〇零一二三四五六七八九十]{2,}|年|月|日|医院|病房|床|班|学校|小学|幼儿园|"
    r"电话|微信|网|名|姓|叫|地方|家里|小[\u4e00-\u9fff]|[A-Za-z]{2,}|氏|白|黄|高|安|金|石|方|何|于|任|张|向"
)
Row = dict[str, object]
Segment = tuple[str, str | None]


def pool_of(folder: Path, taken: str) -> dict[str, list[Carrier]]:
    """Fresh carriers by writer (parent, doctor), those about children last, so that pop() takes them first."""
    found: dict[str, Carrier] = {}
    for text, source, licence in [*_texts(folder), *_questions(folder)]:
        for piece in re.split(r"(?<=[。！？?!；\n])", text):
            sentence = re.sub(r"\s+", " ", piece).strip(" `、，；")
            if 10 <= len(sentence) <= 60 and clean(sentence) and not _held(sentence, taken):
                found.setdefault(sentence, (sentence, source, licence))
    order = sorted(found.values(), key=lambda carrier: hashlib.sha256(f"{SEED}{carrier[0]}".encode()).digest())
    order.sort(key=lambda carrier: bool(CHILD.search(carrier[0])))
    pools: dict[str, list[Carrier]] = {"D": [], "P": []}
    for carrier in order:
        if DOCTOR.search(carrier[0]):
            pools["D"].append(carrier)
        elif PARENT.search(carrier[0]):
            pools["P"].append(carrier)
    return pools


def clean(sentence: str) -> bool:
    """Whether a sentence holds no trace of personal data and is mostly Chinese."""
    chinese = len(re.findall(r"[\u4e00-\u9fff]", sentence))
    return chinese >= 8 and not any(pattern.search(sentence) for pattern in (PERSONAL, TITLED, UNFIT))


def _questions(folder: Path) -> Iterator[tuple[str, str, str]]:
    for entry in json.loads((folder / "distilled/huatuo26m_test.json").read_text(encoding="utf-8")):
        for question in entry["instruction"]:
            if CHILD.search(question):
                yield question, "huatuo26m_test.json", "Apache-2.0"


def words(text: str, rng: random.Random) -> str:
    """The text with each <word> filled."""
    return re.sub(r"<(\w+)>", lambda m: str(rng.choice(DATA["words"][m[1]])), text)


def fill(template: str, values: Values) -> list[Segment]:
    segments: list[Segment] = []
    for part in re.split(r"(\{\w+\})", words(template, values.rng)):
        slot = part[1:-1] if part.startswith("{") else None
        values.before = "".join(text for text, _ in segments)
        segments.append((values(slot), slot) if slot else (part, None))
    return [segment for segment in segments if segment[0]]


def place(clause: list[Segment], carrier: str, writer: str, rng: random.Random) -> list[Segment]:
    """The clause before or after the carrier, as the writer would: parents often without punctuation."""
    gaps = {"P": ["，", "，", "，", " ", " ", "。", "。", "", "？"], "D": ["。", "。", "，", "；", "\n"],
            "N": ["\n", "\n", "。", " ", "，"], "V": ["", "", " "]}[writer]  # fmt: skip
    gap, first = rng.choice(gaps), rng.random() < 0.6
    if gap == "？" and not (first and re.search("吗|怎么|什么", clause[-1][0]) and clause[-1][1] is None):
        gap = "，"
    edge = (clause[-1][0][-1], carrier[0]) if first else (carrier[-1], clause[0][0][0])
    latin = all(re.match(r"[!-~！-～]", char) for char in edge) or (
        clause[-1 if first else 0][1] is not None and not gap
    )
    if not first and carrier[-1] in "。！？?!；：":
        gap = "\n" if gap == "\n" else ""
    elif latin and gap == "":
        gap = " "
    parts: list[Segment] = [*clause, (gap, None), (carrier, None)] if first else [(carrier, None), (gap, None), *clause]
    if writer != "V":
        return parts
    blank = rng.choice(["", "", " "])
    return [(t if kind else re.sub(r"[，。！？、；：\n?]|,(?!\d)", blank, t), kind) for t, kind in parts]


def row(tagged: str, kind: str, values: Values, pools: dict[str, list[Carrier]]) -> Row:
    writer, template = tagged[0], tagged[1:].replace("{}", f"{{{kind}}}")
    carrier = pools["P" if writer in "PV" else "D"].pop()
    values.writer = writer
    text, items = "", []
    for part, label in place(fill(template, values), carrier[0], writer, values.rng):
        if label:
            items.append({"start": len(text), "end": len(text) + len(part), "type": label})
        text += part
    return {"text": text, "items": items, "template": f"{writer} {template}"} | _origin(carrier)


def _origin(carrier: Carrier) -> Row:
    return {"source": carrier[1], "licence": carrier[2]}


def positives(pools: dict[str, list[Carrier]], existing: list[Row], rng: random.Random) -> Iterator[Row]:
    values = Values(existing, rng)
    taken = {bare(re.sub(r"\{\w*\}", "{}", str(old["template"]))) for old in existing}
    for kind, count in COUNTS.items():
        lines = DATA["templates"][kind].splitlines()
        own = [line for line in lines if bare(re.sub(r"\{\w*\}", "{}", line[1:])) not in taken]
        print(f"{kind}: {len(own)} templates, {len(lines) - len(own)} left out as shared")
        for n in range(count):
            if n % len(own) == 0:
                rng.shuffle(own)
            yield row(own[n % len(own)], kind, values, pools)


def negatives(pools: dict[str, list[Carrier]], taken: str, rng: random.Random) -> Iterator[Row]:
    clauses = [clause for clause in DATA["negative_clauses"].splitlines() if clause not in taken]
    for n in range(NEGATIVES["clause"]):
        carrier = pools["P"].pop()
        template = clauses[n % len(clauses)]
        parts = place([(words(template, rng), None)], carrier[0], rng.choice("PPPV"), rng)
        yield {"text": "".join(t for t, _ in parts), "items": [], "template": f"clause {template}"} | _origin(carrier)
    for name, looks in (("look", 2), ("plain", 0)):
        for n in range(NEGATIVES[name]):
            pool = pools["PPD"[n % 3]]
            carrier = next(one for one in reversed(pool) if len(set(LOOKS.findall(one[0]))) >= looks)
            pool.remove(carrier)
            yield {"text": carrier[0], "items": [], "template": name} | _origin(carrier)


def main() -> None:
    folder, out = Path(sys.argv[1]), Path(sys.argv[2])
    existing = [json.loads(line) for path in sys.argv[3:] for line in Path(path).read_text("utf-8").splitlines()]
    taken = "\n".join(str(old["text"]) for old in existing)
    rng = random.Random(SEED)
    pools = pool_of(folder, taken)
    rows = [*negatives(pools, taken, rng), *positives(pools, existing, rng)]
    rng.shuffle(rows)
    _check(rows, existing)
    with out.open("w", encoding="utf-8") as file:
        for n, made in enumerate(rows, 1):
            file.write(json.dumps({"id": f"c{n:04}", "split": "blind"} | made, ensure_ascii=False) + "\n")
    print(f"{len(rows)} rows, {sum(not made['items'] for made in rows)} without personal data: {out}")


def _check(rows: list[Row], existing: list[Row]) -> None:
    """Stop when a text, or a value other than a surname, is in an existing set, or a text is there twice."""
    old_texts, old_values = {str(old["text"]) for old in existing}, set(held_values(existing))
    texts = [str(made["text"]) for made in rows]
    if len(set(texts)) < len(texts) or old_texts & set(texts):
        raise SystemExit("a text is shared or doubled")
    if shared := old_values & set(held_values(rows)):
        raise SystemExit(f"{len(shared)} values are shared with an existing set")


def held_values(rows: list[Row]) -> Iterator[str]:
    for made in rows:
        items: Any = made["items"]
        for item in items:
            if item["type"] != "surname_title":
                yield key(str(made["text"])[item["start"] : item["end"]])


if __name__ == "__main__":
    main()
