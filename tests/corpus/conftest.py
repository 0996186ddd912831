"""Hand-made records for the corpus room's tests, and the real files where they are at hand."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from pediatricsgpt.corpus.settings import SourceSettings
from pediatricsgpt.records import Message, Record, Source, Step, content_id

REAL = Path(__file__).parents[3] / "shared" / "data"
REAL_SOURCES = (
    ("guidelines", "guideline", "guidelines/nhc_json/关于印发儿童*.json"),
    ("flu", "guideline", "guidelines/nhc_json/关于印发流行性感冒*.json"),
    ("books", "textbook", "textbooks/161-*.txt"),
    ("graph", "knowledge_graph", "kg/diseasekg_mongo_export.json"),
    ("cmtmedqa", "conversation", "dialogues/cmtmedqa_test.json"),
    ("hetmc", "conversation", "dialogues/hetmc_train.dialog"),
    ("huatuo", "dataset", "distilled/huatuo26m_test.json"),
    ("pairs", "preferences", "preferences/dpo_zh_500.jsonl"),
)


class Maker:
    """Makes records of the three shapes; whatever a test does not name is filled in."""

    def source(self, kind: str = "conversation", name: str = "made", file: str = "") -> Source:
        file = file or f"{name}.json"
        digest = hashlib.sha256(file.encode()).hexdigest()
        return Source(name, kind, file, digest, "CC0", "no personal data", "training", "2025-01-01")

    def section(self, text: str, *title: str, kind: str = "guideline", **fields: Any) -> Record:
        """A section of a document; the first title is the document's."""
        document = title[0] if title else "没有题目"
        source = self.source(kind, file=f"{document}.json")
        fields.setdefault("group", f"document:{document}")
        return self._record(source, text=text, title=list(title), family="specialised", **fields)

    def fact(self, entity: str, relation: str, text: str, **fields: Any) -> Record:
        """A fact of a knowledge graph."""
        fields.setdefault("group", f"entity:{entity}")
        source = self.source("knowledge_graph", "graph")
        return self._record(source, text=text, title=[entity, relation], family="specialised", **fields)

    def dialogue(self, *turns: str, **fields: Any) -> Record:
        """A dialogue; the first turn is the patient's, then they alternate."""
        roles = ("user", "assistant")
        messages: list[Message] = [{"role": roles[i % 2], "content": turn} for i, turn in enumerate(turns)]
        return self.messages(messages, **fields)

    def messages(self, messages: list[Message], **fields: Any) -> Record:
        fields.setdefault("family", "conversation")
        fields.setdefault("group", f"dialogue:{content_id(messages)}")
        return self._record(self.source(), messages=messages, **fields)

    def preference(self, prompt: str, chosen: str, rejected: str, **fields: Any) -> Record:
        sides = [[{"role": "assistant", "content": text}] for text in (chosen, rejected)]
        fields.setdefault("group", f"dialogue:{content_id(prompt)}")
        return self._record(
            self.source("preferences", "pairs"),
            messages=[{"role": "user", "content": prompt}],
            chosen=sides[0],
            rejected=sides[1],
            family="general",
            **fields,
        )

    def row(self, task: str, number: int, split: str = "train", **fields: Any) -> dict[str, Any]:
        """An instruction row."""
        from pediatricsgpt.corpus.build.rows import instruction_row

        record = self.dialogue(f"{task}问题{number}？", f"这是第{number}个回答。", split=split, **fields)
        return instruction_row(record, record.messages, task, Step("made"))

    def _record(self, source: Source, **fields: Any) -> Record:
        record = Record("", source=source, steps=[Step("read")], **fields)
        record.id = content_id({**record.content(), "group": record.group})
        return record


@pytest.fixture(scope="session")
def make() -> Maker:
    return Maker()


@pytest.fixture(scope="session")
def real_records() -> list[Record]:
    """Records of the real files; skips where they are not at hand."""
    if not REAL.is_dir():
        pytest.skip(f"no real data at {REAL}")
    from pediatricsgpt.corpus.sources import read_source

    records: list[Record] = []
    for name, kind, path in REAL_SOURCES:
        settings = SourceSettings(
            name=name, kind=kind, path=Path(path), licence="as in its README", consent="published", purpose="testing"
        )
        records += read_source(settings, REAL).records
    return records
