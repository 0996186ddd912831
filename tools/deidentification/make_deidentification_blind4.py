"""Writes the fourth blind set of the de-identifier: invented personal data in real sentences, and hard real ones.

python tools/deidentification/make_deidentification_blind4.py ../shared/data OUT.jsonl [EARLIER.jsonl ...]

The author saw neither the rules nor the earlier sets; of the files EARLIER only the texts are compared, so that no
sentence comes again. The same inputs give the same bytes. A row: id, text, items (start, end, type), template, source
and licence of the real sentence.
"""

from __future__ import annotations

import json
import random
import re
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from deidentification_blind4_sentences import Sentence, earlier_grams, grams, halves, rank, read_sentences
from deidentification_blind4_values import Values, id_checksum, luhn_digit
from opencc import OpenCC

SEED = 20260404
_HERE = Path(__file__).parent
_NAMES = {"patient_name", "parent_name", "nickname", "doctor_name", "surname_title"}
_PLACES = {"address", "school"}
_NUMBER_SLOTS = re.compile(r"\{(?:ph|ll|id|bd|rn|bed|wx|qq|em|vc|bc|pl|bk|url)")
_PLACE_SLOTS = re.compile(r"\{(?:ad|cm|vl|sc|kg)")
_SLOT = re.compile(r"\{(\w+?)([0-9]?)(=?)\}")
_INNER_COMMA = re.compile(r"(?<=[\u4e00-\u9fff])[，。！？；,](?=[\u4e00-\u9fff])")
_ENDED = re.compile(r"[。！？!?，,；;：:…~）)\s]$")
_OPENED = re.compile(r"[，。！？!?；;：:、”\s）（(·—]")
_LOOSE = {"spoken", "fathers_chat", "grandparents", "forum_mothers"}
_DIGITS = str.maketrans("零一二三四五六七八九幺０１２３４５６７８９Ｘx", "012345678910123456789XX")

Piece = tuple[str, str | None]


@dataclass
class Pools:
    """The sifted sentences of each speaker, drawn from the end; used: runs of characters that may not come again."""

    speakers: dict[str, list[Sentence]]
    used: set[str] = field(default_factory=set)

    def take(self, speaker: str, wanted: re.Pattern[str] | None = None, split: bool = False) -> Sentence:
        """The next unused sentence that matches; split: only one that can be cut at a comma."""
        pool = self.speakers[speaker]
        for at in range(len(pool) - 1, -1, -1):
            sentence = pool[at]
            if (wanted is None or wanted.search(sentence.text)) and (not split or halves(sentence.text)):
                del pool[at]
                if not grams(sentence.text) & self.used:
                    self.used |= grams(sentence.text)
                    return sentence
        raise SystemExit(f"no {speaker} sentence is left for {wanted.pattern if wanted else 'a phrase'}")


def load(name: str) -> Any:
    """One of the YAML files beside this script."""
    return yaml.safe_load((_HERE / name).read_text(encoding="utf-8"))


def fill(phrase: str, values: Values, pools: Pools) -> tuple[list[Piece], Sentence]:
    """The phrase's pieces (text, type of personal data or None) and the first real sentence in it."""
    pieces: list[Piece] = []
    known: dict[str, Piece] = {}
    real: list[Sentence] = []
    at = 0
    for match in _SLOT.finditer(phrase):
        pieces.append((phrase[at : match.start()], None))
        at = match.end()
        slot, _, again = match.groups()
        if slot in ("S", "D", "A", "B"):
            pieces.append((_ended(_real_text(slot, pools, real), phrase[at:]), None))
        elif again:
            pieces.append(known[slot])
        else:
            pieces.append(_fresh(slot, values, known))
    pieces.append((phrase[at:], None))
    return _joined(pieces), real[0]


def _real_text(slot: str, pools: Pools, real: list[Sentence]) -> str:
    """The text of a real-sentence slot; A draws a sentence and gives its first half, B the second half of it."""
    if slot == "B":
        cut = halves(real[-1].text)
        return cut[1] if cut else ""
    real.append(pools.take("D" if slot == "D" else "P", split=slot == "A"))
    cut = halves(real[-1].text)
    return cut[0] if slot == "A" and cut else real[-1].text


def _ended(text: str, rest: str) -> str:
    """The real text, with a comma where it has no end of its own and more follows."""
    return text if not rest or _ENDED.search(text) or _OPENED.match(rest) else text + "，"


def _fresh(slot: str, values: Values, known: dict[str, Piece]) -> Piece:
    """A value that differs from those of the same kind in the row."""
    texts = {text for text, _ in known.values()}
    value = next(v for v in iter(lambda: values.draw(slot), None) if v[0] not in texts)
    known[slot if slot not in known else f"{slot}{len(known)}"] = value
    return value


def _joined(pieces: list[Piece]) -> list[Piece]:
    """The pieces with neighbouring plain ones made one and empty ones left out."""
    out: list[Piece] = []
    for text, kind in pieces:
        if out and out[-1][1] is None and kind is None:
            out[-1] = (out[-1][0] + text, None)
        elif text:
            out.append((text, kind))
    return out


def in_slot(spec: dict[str, str], values: Values, pools: Pools) -> tuple[list[Piece], Sentence]:
    """A real sentence in which a general word (the group "w" of the pattern) gives way to personal data."""
    wanted = re.compile(spec["where"])
    sentence = pools.take(spec.get("speaker", "P"), wanted)
    match = wanted.search(sentence.text)
    assert match is not None
    value = values.draw(spec["slot"])
    left, right = sentence.text[: match.start("w")], sentence.text[match.end("w") :]
    middle: list[Piece] = [(spec.get("before", ""), None), value, (spec.get("after", ""), None)]
    return [p for p in [(left, None), *middle, (right, None)] if p[0]], sentence


class Noise:
    """Spoils the plain pieces as hasty writers and transcribers do; values change in script alone, with the row."""

    def __init__(self, swaps: list[list[str]], rng: random.Random) -> None:
        self._swaps, self._rng, self._traditional = swaps, rng, OpenCC("s2t")

    def __call__(self, pieces: list[Piece], group: str) -> list[Piece]:
        draw = self._rng.random()
        if draw < (0.30 if group in _LOOSE else 0.06):
            mark = self._rng.choice(("", "", " "))
            return [(t if k else _INNER_COMMA.sub(mark, t), k) for t, k in pieces]
        if draw < 0.38 and group in _LOOSE:
            return [(t if k else self._swap(t), k) for t, k in pieces]
        if draw > 0.96:
            return [(self._same_length(t), k) for t, k in pieces]
        if draw > 0.90:
            return [(t if k else t.replace("，", ",").replace("：", ":"), k) for t, k in pieces]
        if draw > 0.87 and group in _LOOSE and pieces[-1][1] is None:
            return [
                *pieces[:-1],
                (pieces[-1][0] + self._rng.choice(("！！！", "😭", "。。。", "🙏", "？？", "~")), None),
            ]
        return pieces

    def _swap(self, text: str) -> str:
        """One or two words written as one that sounds alike."""
        for right, wrong in self._rng.sample(self._swaps, len(self._swaps)):
            if right in text:
                return text.replace(right, wrong, 1)
        return text

    def _same_length(self, text: str) -> str:
        changed: str = self._traditional.convert(text)
        return changed if len(changed) == len(text) else text


def to_row(pieces: list[Piece], template: str, sentence: Sentence) -> dict[str, Any]:
    """The row of these pieces, without its id."""
    text, items = "", []
    for piece, kind in pieces:
        if kind:
            items.append({"start": len(text), "end": len(text) + len(piece), "type": kind})
        text += piece
    return {"text": text, "items": items, "template": template, "source": sentence.source, "licence": sentence.licence}


def uses(phrase: str) -> int:
    """How often a phrase is filled: those with numbers and places more often, in the measure of the set's quotas."""
    if _PLACE_SLOTS.search(phrase):
        return 5
    return 4 if _NUMBER_SLOTS.search(phrase) else 2


def positive_rows(config: dict[str, Any], values: Values, pools: Pools, noise: Noise) -> list[dict[str, Any]]:
    """The rows with personal data; slots in real sentences first, since fewer sentences suit them."""
    rows = []
    for kind, spec in config["slots"].items():
        for _ in range(int(spec["uses"])):
            pieces, sentence = in_slot(spec, values, pools)
            rows.append(to_row(noise(pieces, "slot"), f"slot_{kind}", sentence))
    for group, phrases in config["phrases"].items():
        for number, phrase in enumerate(phrases, 1):
            for _ in range(uses(phrase)):
                pieces, sentence = fill(phrase, values, pools)
                rows.append(to_row(noise(pieces, group), f"{group}_{number:02d}", sentence))
    return rows


def clean_rows(config: dict[str, Any], pools: Pools, sentences: list[Sentence]) -> list[dict[str, Any]]:
    """Hard real sentences without personal data, up to a quota for each category."""
    rows = []
    for name, spec in config["clean"].items():
        wanted, left = re.compile(spec["where"]), int(spec["quota"])
        for sentence in sentences:
            if left and wanted.search(sentence.text) and not grams(sentence.text) & pools.used:
                pools.used |= grams(sentence.text)
                left -= 1
                rows.append(to_row([(sentence.text, None)], f"clean_{name}", sentence))
    return rows


def check(rows: list[dict[str, Any]]) -> None:
    """Stops at an overlap, a span out of its text, a text that comes twice or a wrong checksum."""
    assert len({row["text"] for row in rows}) == len(rows), "a text comes twice"
    for row in rows:
        end = 0
        for item in row["items"]:
            value = row["text"][item["start"] : item["end"]]
            assert end <= item["start"] < item["end"] <= len(row["text"]), f"spans overlap in {row['id']}"
            assert value == value.strip(), f"a span has a blank edge in {row['id']}"
            end = item["end"]
            _check_number(value.replace(" ", "").translate(_DIGITS), item["type"], row["id"])


def _check_number(value: str, kind: str, where: str) -> None:
    if kind == "id_card":
        assert len(value) == 18, f"identity number of a wrong length in {where}"
        assert id_checksum(value[:17]) == value[17], f"identity number with a wrong checksum in {where}"
    if kind == "bank_card":
        assert luhn_digit(value[:-1]) == value[-1], f"bank card with a wrong check digit in {where}"


def report(rows: list[dict[str, Any]]) -> None:
    """Prints the counts of rows, patterns and types."""
    kinds = Counter(item["type"] for row in rows for item in row["items"])
    hit = [row for row in rows if row["items"]]
    names = sum(n for k, n in kinds.items() if k in _NAMES)
    places = sum(n for k, n in kinds.items() if k in _PLACES)
    print(f"rows {len(rows)}, with personal data {len(hit)}, patterns {len({r['template'] for r in hit})}")
    print(f"names {names}, places {places}, numbers {sum(kinds.values()) - names - places}")
    print(", ".join(f"{kind} {count}" for kind, count in kinds.most_common()))


def main(data: Path, out: Path, earlier: list[Path]) -> None:
    """Makes, checks and writes the set."""
    config, rng = load("deidentification_blind4.yaml"), random.Random(SEED)
    sift = load("deidentification_blind4_sift.yaml")
    lists = {name: str(words).split() for name, words in load("deidentification_blind4_names.yaml").items()}
    seen, personal = earlier_grams(earlier), re.compile("|".join([*sift["personal"], *sift["doubtful"]]))
    everything = [s for s in read_sentences(data) if not personal.search(s.text) and not grams(s.text) & seen]
    rng.shuffle(everything)
    unfit = re.compile("|".join(sift["unfit"]))
    plain = sorted((s for s in everything if len(s.text) <= 50 and not unfit.search(s.text)), key=rank, reverse=True)
    plain = [s for s in plain if rank(s) < 2]
    pools = Pools({speaker: [s for s in plain if s.speaker == speaker] for speaker in "PD"})
    rows = positive_rows(config | sift, Values(lists, rng), pools, Noise(sift["swaps"], rng))
    rows += clean_rows(sift, pools, everything)
    rng.shuffle(rows)
    rows = [{"id": f"e{number:04d}"} | row for number, row in enumerate(rows, 1)]
    check(rows)
    out.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    report(rows)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), [Path(name) for name in sys.argv[3:]])
