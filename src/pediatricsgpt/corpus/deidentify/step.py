"""De-identification as a step of the corpus room: records in, records with surrogates out."""

from __future__ import annotations

import hashlib
import itertools
import operator
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import fields, replace
from pathlib import Path

from pediatricsgpt.corpus.deidentify.dates import dates
from pediatricsgpt.corpus.deidentify.find import (
    NAMES,
    NOT_NUMBERS,
    Finding,
    find,
    find_all,
    finder_of,
    has_number,
    union,
)
from pediatricsgpt.corpus.deidentify.key import load_key, seal, secret_of
from pediatricsgpt.corpus.deidentify.nicknames import may_repeat
from pediatricsgpt.corpus.deidentify.numbers import half_width
from pediatricsgpt.corpus.deidentify.surrogates import Surrogates, visit_of
from pediatricsgpt.corpus.settings import DeidentifySettings
from pediatricsgpt.corpus.sources.file import dialogue_group
from pediatricsgpt.records import Message, Record, Reject, Step, content_id

STEP = Step("deidentify", 2)
EXEMPT_STEP = Step("deidentify_exempt", 1)
"""What records carry whose source the recipe exempts by its name: somebody decided that it is about no patient"""
EXEMPT_KIND_STEP = Step("deidentify_exempt_kind", 1)
"""What records carry whose kind is exempt: nobody looked at this source, so that it may not leave the machine"""
_HASHED_GROUPS = ("dialogue", "recording")
_FIELDS = operator.attrgetter(*(field.name for field in fields(Record)))


class Deidentifier:
    """The step. Each record's result depends on the record, the settings and the seed or key alone.

    Args:
        settings: the recipe's block.
        seed: the run's seed; with a key file the key takes its place.
        outside: folders in which the key file must not lie (the run's and the recipe's).

    Raises:
        UserError: a key file that must not be used, or a named-entity model that cannot be loaded.
    """

    def __init__(self, settings: DeidentifySettings, seed: int, outside: Sequence[Path] = ()) -> None:
        self.settings = settings
        self._key = load_key(settings.key_file, outside) if settings.key_file else None
        self._secret = secret_of(self._key) if self._key else hashlib.sha256(f"seed {seed}".encode()).digest()
        self._find = finder_of(settings)
        self._names: dict[tuple[str, str], str] = {}

    def __call__(self, records: Sequence[Record]) -> tuple[list[Record], list[Reject], Counter[str]]:
        """De-identify a batch.

        Returns:
            Kept records, rejects (those in which a number could still be read afterwards), and how many items of each
            kind were replaced. Records of exempt kinds and sources keep their text, and their steps say so.
        """
        kept: list[Record] = []
        rejects: list[Reject] = []
        counts: Counter[str] = Counter()
        sealed: dict[str, dict[str, str]] = {}
        if not self.settings.enabled:
            return list(records), rejects, counts
        exempt = [self._exempt(record) for record in records]
        texts = [[] if mark else _texts(record) for record, mark in zip(records, exempt, strict=True)]
        found = iter(self._find_all([text for each in texts for text in each]))
        for record, mark, each in zip(records, exempt, texts, strict=True):
            if mark:
                kept.append(_with_step(record, mark))
                continue
            changed, left = self._record(record, each, list(itertools.islice(found, len(each))), counts, sealed)
            if left:
                where = f"{record.source.file}, {record.source.locator}"
                # the rejects' file is read by people: the row in it is the de-identified one
                rejects.append(Reject("deidentify", f"personal data left: {left}", where, changed.as_dict()))
            else:
                kept.append(changed)
        if self._key and self.settings.key_file:
            seal(self.settings.key_file, self._key, sealed)
        return kept, rejects, counts

    def _exempt(self, record: Record) -> Step | None:
        if record.source.name in self.settings.exempt_sources:
            return EXEMPT_STEP
        return EXEMPT_KIND_STEP if record.source.kind in self.settings.exempt_kinds else None

    def _find_all(self, texts: Sequence[str]) -> list[list[Finding]]:
        return find_all(texts) if self._find is find else [self._find(text) for text in texts]

    def _record(
        self,
        record: Record,
        texts: Sequence[str],
        found: Sequence[list[Finding]],
        counts: Counter[str],
        sealed: dict[str, dict[str, str]],
    ) -> tuple[Record, str]:
        record = self._with_safe_names(record)
        if not any(found):
            return _with_step(record, STEP), ""
        found = _everywhere(texts, found)
        counts.update(finding.kind for findings in found for finding in findings)
        surrogates = self._surrogates(record, texts, found)
        pairs: dict[str, str] = {}
        changed = [_replaced(text, findings, surrogates, pairs) for text, findings in zip(texts, found, strict=True)]
        readable = (item.kind for text in changed if has_number(text) for item in find(text))
        left = next((kind for kind in readable if kind not in NOT_NUMBERS), "")
        safe = _renamed(_with_texts(record, iter(changed)))
        if self._key:
            sealed.setdefault(safe.id, {}).update(pairs)
        return safe, left

    def _with_safe_names(self, record: Record) -> Record:
        """Whom a file, a document or a department is named after is not said in its name either."""
        kind, _, name = record.group.partition(":")
        mark = record.source.file_hash[:8]
        group = record.group if kind in _HASHED_GROUPS else f"{kind}:{self._safe_name(name, mark)}"
        file, department = self._safe_name(record.source.file, mark), self._safe_name(record.department, "")
        if (group, file, department) == (record.group, record.source.file, record.department):
            return record
        return replace(record, group=group, department=department, source=replace(record.source, file=file))

    def _safe_name(self, name: str, mark: str) -> str:
        """A name with a mark in place of what identifies. There are few: they are remembered."""
        if (name, mark) not in self._names:
            marked = list(name)
            for finding in reversed([item for item in self._find(name) if item.kind != "date"]):
                marked[finding.start : finding.end] = f"[{mark}]"
            self._names[name, mark] = "".join(marked)
        return self._names[name, mark]

    def _surrogates(self, record: Record, texts: Sequence[str], found: Sequence[Sequence[Finding]]) -> Surrogates:
        visit, year = visit_of([date for text in texts for date in dates(half_width(text))])
        around = None if self._key else "\0".join(map(_around, texts, found))
        # The group of a dialogue is a hash of its opening question, in which a name may stand.
        group = around if around is not None and record.group.startswith("dialogue:") else record.group
        return Surrogates(
            self._secret,
            group,
            self.settings.surrogates,
            self.settings.max_shift_days,
            "\n".join(texts),
            visit,
            year,
            around,
        )


def _texts(record: Record) -> list[str]:
    """Every piece of a record in which somebody may be named, in a fixed order."""
    texts = [record.text, *record.title]
    for side in (record.messages, record.chosen, record.rejected):
        texts.extend([turn["content"] for turn in side])
    if _names_a_heading(record):
        texts.append(record.source.locator.section or "")
    return texts


def _with_step(record: Record, step: Step) -> Record:
    """A copy of the record with one step more. `dataclasses.replace` takes five times as long."""
    changed = Record(*_FIELDS(record))
    changed.steps = [*record.steps, step]
    return changed


def _around(text: str, findings: Sequence[Finding]) -> str:
    """The text without what was found in it."""
    parts, position = [], 0
    for finding in findings:
        parts.append(text[position : finding.start])
        position = finding.end
    return "".join([*parts, text[position:]])


def _renamed(record: Record) -> Record:
    """Id and group of a record by what it says now: hashes of the original would confirm whoever guesses a name."""
    kind = record.group.partition(":")[0]
    group = dialogue_group(record.messages) if kind == "dialogue" else record.group
    return replace(record, id=content_id(record.content()), group=group)


def _names_a_heading(record: Record) -> bool:
    """Whether the place in the source repeats a heading; that of a recording has times and terms only."""
    return bool(record.source.locator.section) and record.source.kind != "recording"


def _with_texts(record: Record, texts: Iterator[str]) -> Record:
    """The record with the pieces of `_texts` replaced, in the same order."""

    def turns(messages: Sequence[Message]) -> list[Message]:
        return [{"role": turn["role"], "content": next(texts)} for turn in messages]

    changed = replace(
        record,
        text=next(texts),
        title=[next(texts) for _ in record.title],
        messages=turns(record.messages),
        chosen=turns(record.chosen),
        rejected=turns(record.rejected),
        steps=[*record.steps, STEP],
    )
    if _names_a_heading(record):
        changed.source = replace(record.source, locator=replace(record.source.locator, section=next(texts)))
    return changed


def _everywhere(texts: Sequence[str], found: Sequence[list[Finding]]) -> list[list[Finding]]:
    """A name that a cue gave away in one place is a name in the other places of the record too."""
    known = {item.text: item.kind for items in found for item in items if item.kind in NAMES and len(item.text) > 1}
    known = {text: kind for text, kind in known.items() if kind == "name" or may_repeat(text)}
    if not known:
        return list(found)
    again = re.compile("|".join(map(re.escape, sorted(known, key=lambda name: (-len(name), name)))))
    return [
        union(text, items, [Finding(*hit.span(), known[hit.group()], hit.group()) for hit in again.finditer(text)])
        for text, items in zip(texts, found, strict=True)
    ]


def _replaced(text: str, findings: Sequence[Finding], surrogates: Surrogates, pairs: dict[str, str]) -> str:
    """The text with surrogates; `pairs` gets what turns them back."""
    parts, position = [], 0
    for finding in findings:
        surrogate = surrogates.replace(finding)
        parts += [text[position : finding.start], surrogate]
        position = finding.end
        # a surname alone is too short to be found again: it is kept with what follows it
        after = text[finding.end : finding.end + 2] if len(surrogate) == 1 else ""
        pairs[surrogate + after] = finding.text + after
    return "".join([*parts, text[position:]])
