"""Labels: is a child the patient, how old, which department, which of the three tasks (paper section 3)."""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from dataclasses import dataclass

from pediatricsgpt.corpus import department as departments
from pediatricsgpt.corpus.prefilter import impossible
from pediatricsgpt.corpus.rules import pattern
from pediatricsgpt.corpus.task import task_of
from pediatricsgpt.facts import Age, present_ages
from pediatricsgpt.records import Record, Step, age_band

STEP = Step("label", 2)
MIN_TEXT_WORDS = 2
CHARACTERS_PER_WORD = 100
CHILD_BANDS = ("neonate", "preschool", "school", "adolescent")
# What every age is written with: texts without any of it need no search for ages, which is the dearest one.
_AGE_SIGNS = re.compile(r"[岁月周天日]|星期|礼拜|[男女][，,、 ]\s?\d")


def label(records: Sequence[Record]) -> list[Record]:
    """Set `pediatric`, `age_months`, `age_band`, `department` and `task` of every record, each from itself alone.

    What a document or an entity says of itself as a whole stands on each of its sections: its title is `title[0]`,
    an entity's department is the department of each of its facts.
    """
    texts = list(map(_spoken, records))
    absent = impossible(texts, _dear_patterns())
    labelled = [_labelled(record, said) for record, said in zip(records, map(_Text, texts, absent), strict=True)]
    _infer_departments(labelled, texts)
    return labelled


def _spoken(record: Record) -> str:
    """What the labels of a record are read from: the patient's side, or the headings of a section."""
    if record.shape == "text":
        # Not the document's own title where there are headings below it: it may name one disease of many.
        return " ".join(record.title[1:] or record.title)
    return asked(record)


_DEAR = ("strong", "never", "band_adult")
_DEAR_BIT = {key: 1 << bit for bit, key in enumerate(_DEAR)}


@functools.cache
def _dear_patterns() -> tuple[re.Pattern[str], ...]:
    """The patterns that cost most and match seldom."""
    return tuple(pattern("pediatric", key) for key in _DEAR)


@dataclass(slots=True)
class _Text:
    """A text, and which of `_DEAR` are known to match nowhere in it, as the bits of a number."""

    text: str
    absent: int = 0

    def search(self, key: str) -> re.Match[str] | None:
        if self.absent & _DEAR_BIT[key]:
            return None
        return pattern("pediatric", key).search(self.text)


def why_pediatric(record: Record) -> str:
    """The rule that makes a record pediatric and the words that it matched, as `rule: words`; empty for none."""
    if record.shape == "text":
        return _why_text(record)
    if not _is_medical(record):
        return ""
    text = asked(record)
    return _why_dialogue(record, _Text(text), _present(text))


def _is_medical(record: Record) -> bool:
    """General instructions and general preference pairs speak of children, too, but have no patients."""
    return record.shape == "messages" and record.family != "general"


def _labelled(record: Record, text: _Text) -> Record:
    """All labels but a department that has to be inferred."""
    if record.shape == "text":
        pediatric, months, band = _section(record)
    else:
        pediatric, months, band = _dialogue(record, text)
    department = departments.canonical(record.department)
    if pediatric and department in departments.BROAD:
        department = _childrens(text.text, band)
    return record.changed(
        pediatric=pediatric,
        age_months=months,
        age_band=band,
        department=department,
        task=task_of(record, pediatric),
        steps=[*record.steps, STEP],
    )


def _infer_departments(labelled: Sequence[Record], texts: Sequence[str]) -> None:
    """Pediatrics stands for children already; for others what the text speaks of, the headings before its words.

    A source's label that says only 内科, 外科 or 过敏 gives way to a narrower one.
    """
    open_ = [place for place, record in enumerate(labelled) if record.department in departments.BROAD]
    for field in (texts, [record.text for record in labelled]):
        found = departments.inferred_of([field[place] for place in open_])
        for place, name in zip(open_, found, strict=True):
            if name != departments.UNKNOWN:
                labelled[place].department = name
        open_ = [place for place, name in zip(open_, found, strict=True) if name == departments.UNKNOWN]


def _section(record: Record) -> tuple[bool, None, str]:
    """Whether a section is about children; it has no age, and a band at most, which its title says."""
    pediatric = bool(_why_text(record))
    return pediatric, None, _band_in_words(_Text(" ".join(record.title)), pediatric)


def _dialogue(record: Record, text: _Text) -> tuple[bool, float | None, str]:
    """Whether a child is the patient, and the age in months, where said, or its band in words."""
    said = _present(text.text)
    pediatric = _is_medical(record) and bool(_why_dialogue(record, text, said))
    # A child's age for a child, an adult's for an adult: the other one belongs to a relative.
    months = next((float(age.months) for age in said if age.adult is not pediatric), None)
    if months is None:
        return pediatric, None, _band_in_words(text, pediatric)
    return pediatric, months, age_band(months)


def _present(text: str) -> list[Age]:
    """The ages that somebody in a text has now."""
    if not _AGE_SIGNS.search(text):
        return []
    past = pattern("pediatric", "past_ages")
    said = [age for age in present_ages(text) if not past.match(text, age.end)]
    if len(said) > 1 and not said[0].adult and any(age.adult for age in said):
        return _without_tag(text, said)
    return said


def _without_tag(text: str, said: Sequence[Age]) -> list[Age]:
    """The ages without a platform's tag for the one who asks: 宝宝五个月鼻塞（女，30岁） is about a child."""
    tags = [found.span() for found in pattern("pediatric", "tag").finditer(text)]
    return [age for age in said if not any(start <= age.start < end for start, end in tags)]


def _why_whole(record: Record) -> str:
    graph = record.source.kind == "knowledge_graph"
    if graph and departments.canonical(record.department) in departments.PEDIATRIC:
        return f"department: {record.department}"
    title = record.title[0] if record.title else ""
    found = pattern("pediatric", "entities" if graph else "titles").search(title)
    return f"{'entity' if graph else 'title'}: {found.group()}" if found else ""


def _why_text(record: Record) -> str:
    """By the whole, else by a heading of the section, else by how often its text speaks of children."""
    if reason := _why_whole(record):
        return reason
    if record.source.kind == "knowledge_graph":
        return ""
    if found := pattern("pediatric", "titles").search(" ".join(record.title)):
        return f"heading: {found.group()}"
    if record.title and pattern("pediatric", "references").search(record.title[-1]):
        return ""
    words = pattern("pediatric", "titles").findall(record.text)
    dense = len(words) * CHARACTERS_PER_WORD >= len(record.text)
    return f"text: {words[0]} and {len(words) - 1} more" if len(words) >= MIN_TEXT_WORDS and dense else ""


def asked(record: Record) -> str:
    """Everything that the patient's side says, one turn a line."""
    return "\n".join(turn["content"] for turn in record.messages if turn["role"] == "user")


def _opening(record: Record) -> str:
    return next((turn["content"] for turn in record.messages if turn["role"] == "user"), "")


def _why_dialogue(record: Record, text: _Text, said: Sequence[Age]) -> str:
    """By an age, else by words, else by the source's department; an adult's age rules all of them out."""
    if any(age.adult for age in said) or text.search("never"):
        return ""
    if said:
        return f"age: {said[0].text}"
    if reason := _why_words(record, text):
        return reason
    if departments.canonical(record.department) in departments.PEDIATRIC:
        return f"department: {record.department}"
    return _why_answer(record, text.text)


def _why_answer(record: Record, text: str) -> str:
    """By what the doctor calls the patient in the first answer, where the question speaks of no adult."""
    answer = next((turn["content"] for turn in record.messages if turn["role"] == "assistant"), "")
    found = pattern("pediatric", "answered").search(answer)
    if not found or pattern("pediatric", "not_answered").search(text):
        return ""
    adult = any(pattern("pediatric", key).search(text) for key in ("adult_marks", "band_adult"))
    return "" if adult else f"answer: {found.group().strip()}"


def _why_words(record: Record, said: _Text) -> str:
    """By what the patient is called; where something speaks for an adult patient, by nothing.

    What comes later than the opening may be about others: there a strong word counts when it comes again (那儿童呢？),
    and a weak one never does (我女儿也有荨麻疹).
    """
    strong, weak = pattern("pediatric", "strong"), pattern("pediatric", "weak")
    if not said.search("strong") and not weak.search(said.text):
        return ""
    traps, opening = pattern("pediatric", "traps"), _opening(record)
    text = traps.sub("", said.text)
    opening = text if opening == said.text else traps.sub("", opening)
    if pattern("pediatric", "adult_marks").search(text):
        return ""
    found = strong.search(opening)
    if found or len(strong.findall(text)) > 1:
        return f"strong word: {(found or strong.search(text) or [''])[0]}"
    found = weak.search(opening)
    return f"weak word: {found.group()}" if found and not pattern("pediatric", "relatives").search(text) else ""


def _band_in_words(said: _Text, pediatric: bool) -> str:
    """The band that the words of a text say, a child's for a child and an adult's for an adult."""
    if not pediatric:
        return "adult" if said.search("band_adult") else "unknown"
    return next((band for band in CHILD_BANDS if pattern("pediatric", f"band_{band}").search(said.text)), "unknown")


def _childrens(text: str, band: str) -> str:
    """The department for children that fits: for newborns, for what surgeons treat, else for all others."""
    if band == "neonate":
        return "新生儿科"
    return "小儿外科" if pattern("pediatric", "surgery").search(text) else "儿科"
