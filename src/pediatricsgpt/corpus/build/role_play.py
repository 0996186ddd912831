"""Role-playing instruction building (paper section 3) without a teacher: questions and answers by extraction.

An inquirer's question is made from the headings of a section, or from a fact's entity and relation; the answer is the
section itself, cut at a sentence end, or the fact as a sentence. So nothing is added to what the source says.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pediatricsgpt.corpus.build.pieces import first_piece
from pediatricsgpt.corpus.build.rows import Row, instruction_row, rank, reject
from pediatricsgpt.corpus.rules import pattern, rules
from pediatricsgpt.corpus.settings import RolePlaySettings
from pediatricsgpt.records import Message, Record, Reject, Step

STEP = Step("role_play", 1)
MAX_HEADING = 24
MIN_PROSE = 20


@dataclass(frozen=True, slots=True)
class Asked:
    """A question and its answer before they are a row; `case` where it describes a patient who is to be treated."""

    question: str
    answer: str
    case: bool = False


def instructions(records: Iterable[Record], settings: RolePlaySettings) -> tuple[list[Row], list[Reject]]:
    """One question and answer from every section of text that allows one; other shapes are passed over.

    Returns:
        Rows of the instruction schema, and the sections that made none, with the reason; together as many as there are
        sections. Pediatric ones are `medkqa`, or `trerecom` where they are about treating; others are `general`.
    """
    sections = [record for record in records if record.shape == "text"]
    classical = classical_books(sections)
    rows: list[Row] = []
    rejects: list[Reject] = []
    for record in sections:
        asked = ask(record, settings, record.source.file_hash in classical)
        if isinstance(asked, str):
            rejects.append(reject("role_play", asked, record))
        else:
            rows.append(_row(record, asked))
    return rows, rejects


def ask(record: Record, settings: RolePlaySettings, classical: bool = False) -> Asked | str:
    """The question and answer that a section makes, or the reason why it makes none."""
    asked = _ask_fact(record) if record.source.kind == "knowledge_graph" else _ask_section(record, classical)
    if isinstance(asked, str):
        return asked
    answer = first_piece(asked.answer, settings.max_answer_characters)
    if len(answer) < settings.min_answer_characters:
        return f"answer too short: {len(answer)} characters"
    # What an old book prescribes may be poison: no answer of it stands without that being said.
    note: str = rules("questions")["classical_note"] if classical else ""
    return Asked(asked.question, note + answer, asked.case)


def _row(record: Record, asked: Asked) -> Row:
    messages: list[Message] = [
        {"role": "user", "content": asked.question},
        {"role": "assistant", "content": asked.answer},
    ]
    task = ("trerecom" if asked.case else "medkqa") if record.pediatric else "general"
    return instruction_row(record, messages, task, STEP)


def statement(record: Record) -> str:
    """A fact of a knowledge graph as a sentence; prose stays as it is."""
    text = record.text.strip()
    if re.search(r"[。！？；\n].", text) or (text.endswith("。") and len(text) >= MIN_PROSE):
        return text
    template: str = _relation(record.title[-1])["answer"]
    tails = text.rstrip("。；，、 ")
    return template.format(entity=record.title[0], relation=record.title[-1], tails=tails)


def _relation(name: str) -> Mapping[str, Any]:
    known: Mapping[str, Any] = rules("questions")["relations"].get(name) or rules("questions")["other_relation"]
    return known


def _ask_fact(record: Record) -> Asked | str:
    if len(record.title) < 2:
        return "fact without entity and relation"
    entity, relation = record.title[0], record.title[-1]
    case = record.pediatric and "cases" in _relation(relation)
    templates = _relation(relation)["cases" if case else "questions"]
    return Asked(_chosen(templates, record).format(entity=entity, relation=relation), statement(record), case)


def _chosen(templates: Sequence[str], record: Record) -> str:
    return templates[int(rank(0, record.id)[:8], 16) % len(templates)]


def _ask_section(record: Record, classical: bool) -> Asked | str:
    headings = [_plain_heading(heading) for heading in record.title]
    heading = headings[-1] if headings else ""
    if not heading:
        return "no heading"
    if pattern("questions", "no_question").search(heading):
        return "heading says nothing to ask for"
    if re.search(rules("questions")["continued"], record.text):
        return "section begins in the middle of a list"
    answer = re.sub(rules("questions")["captions"], "", record.text, flags=re.MULTILINE).strip()
    if not answer:
        return "section is only a caption"
    if classical and len(headings) > 1:
        return Asked(_ask_classical(record, headings), answer)
    if len(subject(heading)) > MAX_HEADING or re.search(r"[。！？；，,]", heading):
        return "heading is a sentence, not a subject"
    question, case = _ask_heading(record, headings)
    return Asked(question, answer, case)


def _ask_classical(record: Record, headings: Sequence[str]) -> str:
    parent = "" if re.match(r"卷|上|中|下", headings[-2]) or len(headings) < 3 else headings[-2]
    template = _chosen(rules("questions")["classical_below" if parent else "classical"], record)
    return template.format(topic=subject(record.title[0]), heading=headings[-1], parent=parent)


def _ask_heading(record: Record, headings: Sequence[str]) -> tuple[str, bool]:
    """A question by the kind of the last heading, about the subject that the headings above it name.

    With it goes whether the question describes a case that is to be treated.
    """
    heading, topic, parent = headings[-1], _topic(headings[:-1]), headings[-2] if len(headings) > 2 else ""
    if not topic or (not _kind(heading) and subject(heading) not in ("", heading)):
        return _chosen(rules("questions")["alone"], record).format(heading=subject(heading) or heading), False
    if parent == "鉴别诊断":
        heading = re.sub(rules("questions")["differential"], "", heading)
    templates, case = _templates(heading, parent if parent != topic else "", record.pediatric)
    return _filled(_chosen(templates, record), topic, heading, parent), case


def _templates(heading: str, parent: str, pediatric: bool) -> tuple[Sequence[str], bool]:
    """The templates for a heading, and whether they describe a case."""
    if parent == "鉴别诊断":
        return rules("questions")["differential_below"], False
    kind, above = _kind(heading), _kind(parent) if parent else {}
    case = pediatric and (kind or above).get("task") == "trerecom"
    if kind:
        return kind["cases" if case else "questions"], case
    if case:
        return rules("questions")["case_below"], True
    return rules("questions")["other_below" if above else "other"], False


def _filled(template: str, topic: str, heading: str, parent: str) -> str:
    """A template with its words; a heading that names the topic itself is not put behind the topic again."""
    if topic in heading:
        template = template.replace("{topic}的{heading}", "{heading}")
    if topic in parent:
        template = template.replace("{topic}的{parent}", "{parent}")
    return template.format(topic=topic, heading=heading, parent=parent)


def _kind(heading: str) -> Mapping[str, Any]:
    """The kind of a heading, an empty one for those that are asked for by their name."""
    sections: list[Mapping[str, Any]] = rules("questions")["sections"]
    return next((kind for kind in sections if re.search(kind["match"], heading)), {})


def _topic(above: Sequence[str]) -> str:
    """What a section is about: the last heading above it that is no kind of section itself, as a subject."""
    named = [subject(heading) for heading in above if not _kind(heading) and "的" not in heading]
    return next((name for name in reversed(named) if name), subject(above[0]) if above else "")


def _plain_heading(heading: str) -> str:
    return re.sub(rules("questions")["heading_noise"], "", without_number(heading)).strip()


def subject(title: str) -> str:
    """The subject of a title: 关于印发儿童腺病毒肺炎诊疗规范（2019年版）的通知 is about 儿童腺病毒肺炎."""
    name = without_number(title.strip("《》 "))
    for noise in rules("questions")["title_noise"]:
        name = re.sub(noise, "", name)
    return name.strip("《》 -_　")


def without_number(heading: str) -> str:
    """A heading without its number: 三、临床表现 and （一）临床表现 are 临床表现."""
    return re.sub(rules("questions")["numbering"], "", heading).strip("：:。. 　")


def classical_books(records: Iterable[Record]) -> set[str]:
    """The file hashes of textbooks in classical Chinese, by the share of its particles in the whole book."""
    particles = frozenset(rules("questions")["classical_characters"])
    found: Counter[str] = Counter()
    length: Counter[str] = Counter()
    for record in records:
        if record.source.kind == "textbook":
            found[record.source.file_hash] += sum(character in particles for character in record.text)
            length[record.source.file_hash] += len(record.text)
    return {book for book, size in length.items() if found[book] >= rules("questions")["classical_share"] * size}
