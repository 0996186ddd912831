"""Make the fifth blind set for de-identification: invented personal data in real sentences, and hard ones without.

    python tools/deidentification/make_deidentification_blind5.py ../shared/data OUT.jsonl EARLIER.jsonl …

Every sentence comes from rows of the bundle under MIT or Apache-2.0; no sentence of the EARLIER files comes again, and
neither their order nor their splitting matters. All names, numbers and addresses are invented. Seeded: same inputs,
same bytes.
"""

import json
import random
import re
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import yaml
from deidentification_blind5_sentences import bare, sentences, windows
from deidentification_blind5_values import MAKERS, check_digit, sibling

HERE = Path(__file__).parent
RULES = yaml.safe_load((HERE / "deidentification_blind5.yaml").read_text(encoding="utf-8"))
DROPPED = yaml.safe_load((HERE / "deidentification_blind5_dropped.yaml").read_text(encoding="utf-8"))
PATTERN_FILES = ("family", "clinical", "numbers", "addresses")
SEED, NEGATIVES, MOST_ROWS = 50517, 530, 6
_SLOT = re.compile(r"\{([A-Za-z]{1,2}\d?)\}")
_STOP = "。！？!?，,；; …~～"
_PEDIATRIC, _ADULT = re.compile(RULES["pediatric"]), re.compile(RULES["adult"].replace(" ", ""))
_S = RULES["surname"]
_PERSON = re.compile(
    rf"(?<!任)[{_S}](?:{RULES['titles']})|小[{_S}](?![便儿肠腿腹脑])|{RULES['stock_names']}|{RULES['places']}"
    rf"|(?:患者|病人|叫做|叫|我是)[{_S}][一-鿿]{{1,2}}[，,（( ]"
)
_MARKS = "，。、！？；"
Piece = tuple[str, str | None]


class Pool:
    """Real sentences, each handed out once; one that shares twelve characters with an earlier one is passed over."""

    def __init__(self, data: Path, earlier: list[Path], rng: random.Random) -> None:
        texts = [json.loads(line)["text"] for path in earlier for line in path.read_text(encoding="utf-8").splitlines()]
        self.used: set[str] = set().union(*map(windows, texts))
        self.earlier = "\n".join(map(bare, texts))
        self.rows = sentences(data)
        rng.shuffle(self.rows)
        self.kinds: dict[str, list[dict[str, str]]] = {"fam": [], "doc": [], "note": []}
        for row in self.rows:
            if not _PERSON.search(row["text"]) and not any(part in row["text"] for part in DROPPED):
                self._sort(row)

    def _sort(self, row: dict[str, str]) -> None:
        text = row["text"]
        if row["voice"] == "family" and _PEDIATRIC.search(text) and not _ADULT.search(text):
            self.kinds["fam"].append(row)
        elif row["voice"] == "doctor" and _PEDIATRIC.search(text) and not _ADULT.search(text):
            self.kinds["doc"].append(row)
        elif row["voice"] == "note" and not text.endswith(("？", "?")) and not _ADULT.search(text):
            self.kinds["note"].append(row)

    def fresh(self, text: str) -> bool:
        """Whether nothing of the sentence was used; if so it counts as used from now on."""
        pieces = windows(text)
        if pieces & self.used or bare(text) in self.earlier:
            return False
        self.used |= pieces
        return True

    def take(self, kind: str, fit: re.Pattern[str] | None) -> dict[str, str]:
        """The next unused sentence of that kind which `fit` finds something in."""
        rows = self.kinds[kind]
        for index in range(len(rows) - 1, -1, -1):
            if fit is not None and not fit.search(rows[index]["text"]):
                continue
            row = rows.pop(index)
            if self.fresh(row["text"]):
                return row
        raise SystemExit(f"no {kind} sentence left for {fit.pattern if fit else 'any'}")


def _value(slot: str, values: dict[str, str], sentence: str, rng: random.Random) -> Piece:
    kind, maker = MAKERS[slot[:2]]
    if slot not in values:
        value = ""
        while not value or value in values.values() or (len(value) > 1 and value in sentence):
            value = maker(rng)
            if slot == "pn2" and "pn" in values:
                value = sibling(values["pn"], value)
        values[slot] = value
    return values[slot], kind


def _fill(pattern: str, sentence: str, rng: random.Random) -> list[Piece]:
    body = sentence.rstrip(_STOP)
    cut = _middle_comma(body)
    closed = body + (sentence[len(body) :] or "。")
    fixed = {"S": closed, "s": body, "A": body[:cut], "B": body[cut + 1 :] + (sentence[len(body) :] or "。")}
    values: dict[str, str] = {}
    pieces: list[Piece] = []
    for index, part in enumerate(_SLOT.split(pattern.replace("\\n", "\n"))):
        if index % 2 == 0:
            pieces.append((part, None))
        elif part in fixed:
            pieces.append((fixed[part], None))
        else:
            pieces.append(_value(part, values, sentence, rng))
    return [piece for piece in pieces if piece[0]]


def _middle_comma(text: str) -> int:
    commas = [i for i, char in enumerate(text) if char in "，," and 3 <= i <= len(text) - 5]
    return min(commas, key=lambda i: abs(i - len(text) // 2), default=0)


def _swap(pattern: str, find: re.Pattern[str], sentence: str, rng: random.Random) -> list[Piece]:
    found = find.search(sentence)
    assert found is not None
    return [(sentence[: found.start()], None), *_fill(pattern, sentence, rng), (sentence[found.end() :], None)]


def _noise(pieces: list[Piece], rng: random.Random) -> list[Piece]:
    """Typing noise outside the items: no punctuation, slips of the input method, traditional characters."""
    kind = rng.choice(("bare", "bare", "spaces", "slips", "traditional"))
    if kind in ("slips", "traditional"):
        swaps = RULES["noise" if kind == "slips" else "traditional"]
        table = re.compile("|".join(swaps))
        return [(text if label else table.sub(lambda m: swaps[m[0]], text), label) for text, label in pieces]
    noisy: list[Piece] = []
    for index, (text, label) in enumerate(pieces):
        if label is None:
            text = re.sub(r"(?<=\d)[，、。,](?=\d)", " ", text)
            text = re.sub(rf"^[{_MARKS}]", " ", text) if index else text
            text = re.sub(rf"[{_MARKS}]$", " ", text) if index + 1 < len(pieces) else text
            text = re.sub(rf"[{_MARKS}]", " " if kind == "spaces" else "", text)
        noisy.append((text, label))
    return noisy


def _row(pieces: list[Piece], template: str, real: dict[str, str]) -> dict[str, Any]:
    text, items = "", []
    for part, label in pieces:
        if label:
            items.append({"start": len(text), "end": len(text) + len(part), "type": label})
        text += part
    lead = len(text) - len(text.lstrip())
    items = [{**item, "start": item["start"] - lead, "end": item["end"] - lead} for item in items]
    made = {"text": text.strip(), "items": items, "template": template, "source": real["source"]}
    return {**made, "licence": real["licence"]}


def _fit(section: dict[str, Any], pattern: str) -> re.Pattern[str] | None:
    if "find" in section:
        return re.compile(section["find"])
    return re.compile(r"^.{3,}，.{5,}") if "{A}" in pattern else None


def positives(pool: Pool, rng: random.Random) -> list[dict[str, Any]]:
    """Rows with personal data; the sections whose pattern stands for a word of the sentence choose first."""
    sections = {}
    for name in PATTERN_FILES:
        text = (HERE / f"deidentification_blind5_{name}.yaml").read_text(encoding="utf-8")
        sections.update({key: (name, section) for key, section in yaml.safe_load(text).items()})
    made = []
    for key, (name, section) in sorted(sections.items(), key=lambda entry: "find" not in entry[1][1]):
        count = section.get("rows", 4 if name in ("numbers", "addresses") else 2)
        for number, pattern in enumerate(section["patterns"], 1):
            fit = _fit(section, pattern)
            for _ in range(min(count, MOST_ROWS)):
                real = pool.take(section["voice"], fit)
                pieces = (
                    _swap(pattern, fit, real["text"], rng) if "find" in section else _fill(pattern, real["text"], rng)
                )
                noisy = _noise(pieces, rng) if section["voice"] == "fam" and rng.random() < 0.22 else pieces
                made.append(_row(noisy, f"{key}_{number:02d}", real))
    return made


def negatives(pool: Pool, rng: random.Random) -> list[dict[str, Any]]:
    """Sentences without personal data, the same number for each kind of difficulty, children's first."""
    made: list[dict[str, Any]] = []
    per = -(-NEGATIVES // len(RULES["hard"]))
    for name, words in RULES["hard"].items():
        fit, seen = re.compile(words), Counter[str]()
        found = [row for row in pool.rows if fit.search(row["text"]) and len(row["text"]) <= 52]
        found.sort(key=lambda row: not _PEDIATRIC.search(row["text"]))
        kept = 0
        for row in found:
            word = fit.search(row["text"])[0]  # type: ignore[index]
            barred = any(part in row["text"] for part in DROPPED) or _PERSON.search(row["text"])
            if kept < per and seen[word] < 5 and not barred and pool.fresh(row["text"]):
                seen[word] += 1
                kept += 1
                made.append(_row([(row["text"], None)], f"none_{name}", row))
    rng.shuffle(made)
    return made


def check(rows: list[dict[str, Any]]) -> None:
    """Raise where a span, a text or a checksum is wrong."""
    assert len({row["text"] for row in rows}) == len(rows), "a text stands twice"
    assert max(Counter(row["template"] for row in rows if row["items"]).values()) <= MOST_ROWS
    for row in rows:
        end = 0
        for item in row["items"]:
            assert end <= item["start"] < item["end"] <= len(row["text"]), row
            end = item["end"]
            value = row["text"][item["start"] : end]
            assert value == value.strip(), row
            if item["type"] == "id_card":
                number = re.sub(r"\s", "", value).translate(str.maketrans("０１２３４５６７８９x", "0123456789X"))
                assert check_digit(number[:17]) == number[17:], row
        for value in {
            row["text"][i["start"] : i["end"]] for i in row["items"] if i["type"] in ("nickname", "patient_name")
        }:
            spans = sum(row["text"][i["start"] : i["end"]].count(value) for i in row["items"])
            assert spans == row["text"].count(value), f"{value} unlabelled once in {row['text']}"


def main() -> None:
    """Write the set and print what it counts."""
    data, out, *earlier = (Path(argument) for argument in sys.argv[1:])
    rng = random.Random(SEED)
    pool = Pool(data, earlier, rng)
    rows = positives(pool, rng)
    rows += negatives(pool, rng)
    rng.shuffle(rows)
    rows = [{"id": f"f{number:04d}", **row} for number, row in enumerate(rows, 1)]
    check(rows)
    out.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    counts = Counter(item["type"] for row in rows for item in row["items"])
    print(f"{len(rows)} rows, {sum(bool(row['items']) for row in rows)} with personal data")
    print(f"{len({row['template'] for row in rows if row['items']})} patterns; {dict(counts.most_common())}")


if __name__ == "__main__":
    main()
