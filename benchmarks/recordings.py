"""Quality of the recordings room (`corpus/sources/recording.py`), by hand.

    python benchmarks/recordings.py speech MODEL_FOLDER FOLDER_OF_RECORDINGS
    python benchmarks/recordings.py lexicon FOLDER_OF_DATA

`speech`: consultations with a reference (`x.wav` beside `x.json`: turns with speaker, start, end, text). Character
error rate, medical-term error rate and speaker attribution, before and after the lexicon pass. The weights of the
speaker model were chosen on the same three recordings, so that its figure there is an optimistic one; the lexicon was
made from dictionaries and texts, but whoever wrote its rules had seen what the model makes of these recordings.
`lexicon`: the pass alone on real sentences that its making never saw: what it changes in 2,000 right ones, and how
many homophones that are put in the place of terms it finds and how many it makes right.
"""

from __future__ import annotations

import hashlib
import json
import random
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pediatricsgpt.corpus.sources.lexicon import Lexicon, correct, load_lexicon, near, syllables
from pediatricsgpt.corpus.sources.recording import Turn, listen, simplified, write_down
from pediatricsgpt.corpus.sources.speech import load_model, read_audio
from pediatricsgpt.text import decode

ROLES = {"家长": "user", "医生": "assistant"}
DIGITS = "零一二三四五六七八九"
HELD_OUT = (
    "dialogues/*",
    "distilled/huatuo26m_test.json",
    "distilled/disc_medsft_examples.jsonl",
    "guidelines/nhc_json/*",
)
NEVER_SEEN = (
    "benchmarks/cmb_clin_cases.json",
    "benchmarks/huatuogpt_med_dialog_100.json",
    "benchmarks/cmd_samples.json",
)


def main() -> None:
    """Print the figures as JSON."""
    if sys.argv[1] == "speech":
        result: Any = speech(Path(sys.argv[2]), Path(sys.argv[3]))
    else:
        result = on_sentences(Path(sys.argv[2]))
    print(json.dumps(result, ensure_ascii=False, indent=2))


def speech(model_folder: Path, folder: Path) -> dict[str, Any]:
    """Figures over all references of a folder, before and after the pass, and for each recording."""
    lexicon = load_lexicon()
    model = load_model(model_folder)
    before, after, each = Counter[str](), Counter[str](), {}
    for reference in sorted(folder.glob("consult_*.json")):
        said = json.loads(reference.read_text(encoding="utf-8"))["turns"]
        samples = read_audio(reference.with_suffix(".wav"))
        spoken = listen(model, samples)
        plain, corrected = write_down(spoken, None), write_down(spoken, lexicon)
        figures = [counts(turns, said, lexicon) for turns in (plain, corrected)]
        before.update(figures[0])
        after.update(figures[1])
        changes = [change for turn in corrected for change in turn.corrections]
        each[reference.stem] = {"before": rates(figures[0]), "after": rates(figures[1]), "changes": changes,
                                "turns": [f"{turn}: {turn.text}" for turn in corrected]}  # fmt: skip
    return {"before": rates(before), "after": rates(after), "each": each}


def counts(turns: Sequence[Turn], said: Sequence[Mapping[str, Any]], lexicon: Lexicon) -> Counter[str]:
    """Errors and what they are out of: characters, terms, and seconds of reference speech with the right speaker."""
    reference = normalised("".join(turn["text"] for turn in said))
    heard = normalised("".join(turn.text for turn in turns))
    wanted, got = terms(reference, lexicon), terms(heard, lexicon)
    right = sum(
        max(0.0, min(turn.end, one["end"]) - max(turn.start, one["start"]))
        for turn in turns
        for one in said
        if turn.role == ROLES[one["speaker"]]
    )
    wrong = sum(
        max(0.0, min(turn.end, one["end"]) - max(turn.start, one["start"]))
        for turn in turns
        for one in said
        if turn.role != ROLES[one["speaker"]]
    )
    return Counter({
        "character_errors": distance(heard, reference),
        "characters": len(reference),
        "term_errors": sum((wanted - got).values()),
        "terms": sum(wanted.values()),
        "right_ms": round(1000 * right),
        "spoken_ms": round(1000 * (right + wrong)),
    })  # fmt: skip


def rates(count: Mapping[str, int]) -> dict[str, Any]:
    """Rates with their n."""
    return {
        "character_error_rate": round(count["character_errors"] / count["characters"], 4),
        "term_error_rate": round(count["term_errors"] / count["terms"], 4),
        "speaker_attribution": round(count["right_ms"] / count["spoken_ms"], 4),
        "n": {
            "characters": count["characters"],
            "terms": count["terms"],
            "seconds": round(count["spoken_ms"] / 1000, 1),
        },
    }


def normalised(text: str) -> str:
    """Simplified characters, numbers in Chinese numerals (38度5, 38.5度 -> 三十八度五), no punctuation."""
    text = re.sub(r"(\d+)\.(\d)(?:度|℃)?", r"\1度\2", simplified(text))
    return re.sub(r"[\W_]", "", re.sub(r"\d+", lambda found: numeral(found.group()), text))


def numeral(digits: str) -> str:
    """A number below a hundred as it is said; a longer one digit by digit."""
    number = int(digits)
    if number >= 100:
        return "".join(DIGITS[int(digit)] for digit in digits)
    tens, ones = divmod(number, 10)
    if not tens:
        return DIGITS[ones]
    return f"{DIGITS[tens] if tens > 1 else ''}十{DIGITS[ones] if ones else ''}"


def terms(text: str, lexicon: Lexicon) -> Counter[str]:
    """The terms of the lexicon in a text, the longest at each place, none inside another."""
    found, place = Counter[str](), 0
    while place < len(text):
        size = next((size for size in range(10, 1, -1) if text[place : place + size] in lexicon.sounds), 1)
        if size > 1:
            found[text[place : place + size]] += 1
        place += size
    return found


def distance(one: str, other: str) -> int:
    """Edit distance."""
    row = list(range(len(other) + 1))
    for number, character in enumerate(one, 1):
        last, row[0] = row[0], number
        for place, wanted in enumerate(other, 1):
            last, row[place] = row[place], min(row[place] + 1, row[place - 1] + 1, last + (character != wanted))
    return row[-1]


def on_sentences(folder: Path, number: int = 2000) -> dict[str, Any]:
    """What the pass does to right sentences, and to the same with a homophone in the place of a term."""
    lexicon = load_lexicon()
    draw = random.Random(17)
    held = draw.sample(sorted(sentences(folder, HELD_OUT, held_out=True)), number)
    unseen = sorted(sentences(folder, NEVER_SEEN, held_out=False))
    unseen = draw.sample(unseen, min(number, len(unseen)))
    return {
        "right sentences, held out": unchanged(held, lexicon, 0.8),
        "right sentences, held out, recogniser unsure": unchanged(held, lexicon, 0.5),
        "right sentences of files never seen": unchanged(unseen, lexicon, 0.8),
        "homophones, unsure": injected(held + unseen, lexicon, 0.5, random.Random(11)),
        "homophones, medium": injected(held + unseen, lexicon, 0.8, random.Random(11)),
    }


def sentences(folder: Path, patterns: Sequence[str], held_out: bool) -> Iterator[str]:
    """Distinct runs of 8 to 60 Chinese characters; of files that the lexicon was made from only what was held out."""
    seen = set()
    for pattern in patterns:
        for path in sorted(folder.glob(pattern)):
            for run in re.findall(r"[\u4e00-\u9fff]{4,}", decode(path.read_bytes()).text):
                mine = not held_out or hashlib.sha256(run.encode()).digest()[0] % 10 == 0
                if 8 <= len(run) <= 60 and mine and run not in seen:
                    seen.add(run)
                    yield run


def unchanged(runs: Sequence[str], lexicon: Lexicon, chance: float) -> dict[str, Any]:
    """The changes in sentences that are right."""
    found = [(run, one) for run in runs for one in correct(run, lexicon, [chance] * len(run))[1]]
    listed = [f"{one.heard}->{one.meant}: {run[max(0, one.start - 6) : one.start + 10]}" for run, one in found]
    return {"sentences": len(runs), "changed": len({run for run, _ in found}), "changes": listed}


def injected(runs: Sequence[str], lexicon: Lexicon, chance: float, draw: random.Random) -> dict[str, Any]:
    """Put other characters of the same sound (every fourth: of a near sound) in the place of a term, and correct."""
    same, alike = homophones(runs)
    results: dict[str, Counter[str]] = defaultdict(Counter)
    for run in runs:
        known = sorted(terms(run, lexicon))
        if not known:
            continue
        term = draw.choice(known)
        pool = alike if draw.random() < 0.25 else same
        heard = replaced(term, pool, draw)
        if heard is None or heard in lexicon.sounds:
            continue
        start = run.index(term)
        chances = [0.95] * start + [chance] * len(term) + [0.95] * (len(run) - start - len(term))
        got, _ = correct(run.replace(term, heard, 1), lexicon, chances)
        size = f"{'same' if pool is same else 'near'} sound, {'2' if len(term) == 2 else '3+'} characters"
        outcome = "right" if got == run else "left" if got == run.replace(term, heard, 1) else "wrong"
        results[size][outcome] += 1
    return {size: {**count, "n": count.total()} for size, count in sorted(results.items())}


def homophones(runs: Sequence[str]) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """For each sound the characters of the texts that have it, and those that have one near to it."""
    same: dict[str, set[str]] = defaultdict(set)
    alike: dict[str, set[str]] = defaultdict(set)
    for character in sorted(set("".join(runs))):
        sound = syllables(character)[0]
        same[sound].add(character)
        alike[near(sound)].add(character)
    every = {sound: sorted(alike[near(sound)]) for sound in same}
    return {sound: sorted(found) for sound, found in same.items()}, every


def replaced(term: str, pool: Mapping[str, Sequence[str]], draw: random.Random) -> str | None:
    """The term with one or two of its characters replaced by others that sound alike; None where there are none."""
    characters = list(term)
    for place in draw.sample(range(len(term)), min(len(term), draw.choice((1, 2)))):
        others = [one for one in pool.get(syllables(term)[place], ()) if one != term[place]]
        if others:
            characters[place] = draw.choice(others)
    heard = "".join(characters)
    return None if heard == term else heard


if __name__ == "__main__":
    main()
