"""Labels: is a child the patient, how old, which department, which of the three tasks (paper section 3)."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence

from pediatricsgpt.corpus import department as departments
from pediatricsgpt.corpus.rules import pattern
from pediatricsgpt.corpus.task import task_of
from pediatricsgpt.facts import Age, patient_age, present_ages
from pediatricsgpt.records import Record, Step, age_band

STEP = Step("label", 1)
MIN_TEXT_WORDS = 3
CHARACTERS_PER_WORD = 120
_NEVER = ("grown_up", "mother_marks")
WORD_BANDS = ("neonate", "preschool", "adolescent", "adult")


def label(records: Sequence[Record]) -> list[Record]:
    """Set `pediatric`, `age_months`, `age_band`, `department` and `task` of every record.

    What a document or an entity says of itself as a whole (its title, its department) holds for all of its sections.
    """
    whole = _pediatric_wholes(records)
    return [_labelled(record, _whole(record) in whole) for record in records]


def why_pediatric(record: Record) -> str:
    """The rule that makes a record pediatric and the words that it matched, as `rule: words`; empty for none."""
    if record.shape == "text":
        return _why_text(record)
    return _why_dialogue(record) if _is_medical(record) else ""


def _is_medical(record: Record) -> bool:
    """General instructions and general preference pairs speak of children, too, but have no patients."""
    return record.shape == "messages" and record.family != "general"


def _labelled(record: Record, whole: bool) -> Record:
    pediatric = whole or bool(why_pediatric(record))
    months, band = _age(record, pediatric)
    return dataclasses.replace(
        record,
        pediatric=pediatric,
        age_months=months,
        age_band=band,
        department=_department(record, pediatric),
        task=task_of(record, pediatric),
        steps=[*record.steps, STEP],
    )


def _whole(record: Record) -> tuple[str, str]:
    return record.source.file_hash, record.title[0] if record.title else record.id


def _pediatric_wholes(records: Iterable[Record]) -> set[tuple[str, str]]:
    """Documents and entities that are about children as a whole."""
    sections = (record for record in records if record.shape == "text")
    return {_whole(record) for record in sections if _why_whole(record)}


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
    words = pattern("pediatric", "titles").findall(record.text)
    dense = len(words) * CHARACTERS_PER_WORD >= len(record.text)
    return f"text: {words[0]} and {len(words) - 1} more" if len(words) >= MIN_TEXT_WORDS and dense else ""


def asked(record: Record) -> str:
    """Everything that the patient's side says, one turn a line."""
    return "\n".join(turn["content"] for turn in record.messages if turn["role"] == "user")


def _opening(record: Record) -> str:
    return next((turn["content"] for turn in record.messages if turn["role"] == "user"), "")


def _why_dialogue(record: Record) -> str:
    """By an age, else by words, else by the source's department; an adult's age rules all of them out."""
    traps = pattern("pediatric", "traps")
    text = traps.sub("", asked(record))
    said = present_ages(text)
    if any(age.adult for age in said) or any(pattern("pediatric", key).search(text) for key in _NEVER):
        return ""
    if said:
        return f"age: {said[0].text}"
    if reason := _why_words(text, traps.sub("", _opening(record))):
        return reason
    known = departments.canonical(record.department) in departments.PEDIATRIC
    return f"department: {record.department}" if known else ""


def _why_words(text: str, opening: str) -> str:
    """By what the patient is called; where something speaks for an adult patient, by nothing.

    A weak word counts in the opening only: later on an adult may mention a child of his own (我女儿也有荨麻疹).
    """
    if pattern("pediatric", "adult_marks").search(text):
        return ""
    if found := pattern("pediatric", "strong").search(text):
        return f"strong word: {found.group()}"
    found = pattern("pediatric", "weak").search(opening)
    return f"weak word: {found.group()}" if found and not pattern("pediatric", "relatives").search(text) else ""


def _age(record: Record, pediatric: bool) -> tuple[float | None, str]:
    """The patient's age in months, where said, and its band; sections of text have a band at most."""
    if record.shape == "text":
        return None, _band_in_words(" ".join(record.title))
    text = asked(record)
    age = _fitting(patient_age(text), present_ages(text), pediatric)
    if age is None:
        return None, _band_in_words(text)
    return float(age.months), age_band(float(age.months))


def _fitting(age: Age | None, others: Sequence[Age], pediatric: bool) -> Age | None:
    """A child's age for a child, an adult's for an adult: the other one belongs to a relative."""
    if age is None or age.adult is not pediatric:
        return age
    return next((other for other in others if other.adult is not pediatric), None)


def _band_in_words(text: str) -> str:
    return next((band for band in WORD_BANDS if pattern("pediatric", f"band_{band}").search(text)), "unknown")


def _department(record: Record, pediatric: bool) -> str:
    """The source's department, else one inferred from the text; for children, pediatrics."""
    name = departments.canonical(record.department)
    if name != departments.UNKNOWN:
        return name
    text = asked(record) or " ".join([*record.title, record.text])
    if pediatric:
        return "新生儿科" if pattern("pediatric", "band_neonate").search(text) else "儿科"
    return departments.inferred(text)
