"""A small run, written by the functions that write real ones, with made-up content."""

from __future__ import annotations

import dataclasses
import functools
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from pediatricsgpt import manifest
from pediatricsgpt.evaluation.likelihood import HeldOutLoss, RowLoss
from pediatricsgpt.evaluation.scoring import score_file
from pediatricsgpt.records import (
    Message,
    Record,
    Reject,
    Source,
    Step,
    content_id,
    provenance,
    write_json_lines,
    write_records,
    write_rows,
)

from .phases import phase_counts, phase_settings, preference_values, text, trained, training_log, write_shortcuts

MODELS = ("base", "cpt", "sft", "dfpo", "experts")
TASKS = ("medkqa", "evidiag", "trerecom")
SETS = {"cpt": "cpt", "sft": "instruction", "experts": "instruction", "preferences": "preference"}
PER_TASK = 16

_QUESTION = {
    "medkqa": "宝宝两个月，发热三十八度五，要不要马上去医院？",
    "evidiag": "孩子咳嗽一周，夜里更重。",
    "trerecom": "三岁，轮状病毒肠炎，轻度脱水，怎么治疗？",
}
_ANSWER = "三个月以内的婴儿发热应当尽快就诊，由医生查体并检查血常规；路上注意保暖，少量多次喂奶，观察精神和尿量。"


@dataclass
class SmallRun:
    """A run's folder, filled step by step."""

    folder: Path
    contents: dict[str, str] = field(default_factory=dict)
    wholes: dict[str, str] = field(default_factory=dict)
    """The same with what nobody but people reads"""

    def done(
        self,
        node: str,
        write: Callable[[Path], None],
        inputs: Sequence[str] = (),
        files: dict[str, str] | None = None,
        counts: dict[str, Any] | None = None,
        settings: Any = None,
        reads_all: bool = False,
    ) -> None:
        """Do one step as `run.py` does; `reads_all`: it depends on what its inputs wrote for people, too."""
        target = self.folder / node
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = manifest.begin(target, manifest.Begun(content_id(node)))
        write(partial)
        content = manifest.hash_folder(partial, ignore=("metrics.jsonl", "README.md", "leakage.json", "rejects.jsonl"))
        above = self.wholes if reads_all else self.contents
        read = {name: above[name] for name in inputs} | (files or {})
        entry = manifest.Manifest(node, content_id(node), content, read, settings or {}, "c0de", 17, counts or {})
        entry.threads, entry.seconds, entry.peak_memory_mb = 2, 12.5, 900
        entry.whole = manifest.hash_folder(partial)
        manifest.finish(target, entry)
        self.contents[node], self.wholes[node] = content, entry.whole

    def predictions(self, model: str) -> Path:
        """The predictions file of a model."""
        return self.folder / "evaluation" / model / "predictions.jsonl"

    def scores(self, model: str) -> dict[str, Any]:
        """What `scores.json` of a model says."""
        found: dict[str, Any] = json.loads(self.predictions(model).with_name("scores.json").read_text("utf-8"))
        return found


@pytest.fixture
def begun(tmp_path: Path) -> SmallRun:
    """A run of which only the recipe is there."""
    return _begun(tmp_path)


@pytest.fixture
def with_corpus(tmp_path: Path, built: tuple[SmallRun, SmallRun]) -> SmallRun:
    """A run that stopped after the corpus."""
    return _copied(built[0], tmp_path)


@pytest.fixture
def whole(tmp_path: Path, built: tuple[SmallRun, SmallRun]) -> SmallRun:
    """A run that went to its end."""
    return _copied(built[1], tmp_path)


@pytest.fixture(scope="session")
def all_measured(built: tuple[SmallRun, SmallRun], tmp_path_factory: pytest.TempPathFactory) -> SmallRun:
    """A run with everything that the evaluation room writes, and two models whose answers were given elsewhere."""
    from . import measured as made

    run = _copied(built[1], tmp_path_factory.mktemp("measured"))
    models = [{"name": name, "answers": {"cmd": "answers.jsonl"}} for name in ("gpt-4", "huatuo")]
    recipe = {**_recipe(), "evaluation": {"models": models}}
    (run.folder / "recipe.yaml").write_text(yaml.safe_dump(recipe, allow_unicode=True), encoding="utf-8")
    made.write_all(run.folder)
    return run


@pytest.fixture
def measured(all_measured: SmallRun, tmp_path: Path) -> SmallRun:
    """The same, to be changed."""
    return _copied(all_measured, tmp_path / "measured")


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[SmallRun, SmallRun]:
    """Both, made once; every test works on a copy."""
    corpus = _begun(tmp_path_factory.mktemp("corpus"))
    write_source(corpus)
    write_deidentification(corpus)
    write_curated(corpus)
    write_sets(corpus)
    run = _copied(corpus, tmp_path_factory.mktemp("whole"))
    write_models(run)
    for place, model in enumerate(MODELS):
        write_evaluation(run, model, _ANSWER[: 8 + 9 * place])
    return corpus, run


def _begun(above: Path) -> SmallRun:
    run = SmallRun(above / "runs" / "small")
    run.folder.mkdir(parents=True)
    (run.folder / "recipe.yaml").write_text(yaml.safe_dump(_recipe(), allow_unicode=True), encoding="utf-8")
    return run


def _copied(run: SmallRun, above: Path) -> SmallRun:
    shutil.copytree(run.folder, above / "runs" / "small")
    return SmallRun(above / "runs" / "small", dict(run.contents), dict(run.wholes))


def _recipe() -> dict[str, Any]:
    return {"name": "small", "seed": 17, "corpus": {"sources": [_source_settings()]}}


def _source_settings() -> dict[str, Any]:
    return {
        "name": "guidelines",
        "kind": "guideline",
        "path": "../examples/guidelines",
        "licence": "PRC government document",
        "consent": "no personal data",
        "purpose": "training",
        "retrieved": "2025-11-01",
    }


def _record(number: int, split: str) -> Record:
    settings = {name: value for name, value in _source_settings().items() if name != "path"}
    source = Source(file="../examples/guidelines/fever.txt", file_hash="ab" * 32, **settings)
    text = f"第{number}条：{_ANSWER}"
    return Record(content_id(text), f"document:{split}-{number}", source, text=text, family="specialised", split=split)


def _turns(task: str, number: int) -> list[Message]:
    first = Message(role="user", content=f"{_QUESTION[task]}（{number}）")
    asked = [Message(role="assistant", content="有没有发热？"), Message(role="user", content="没有发热。")]
    return [first, *(asked if task == "evidiag" else [])]


def _row(task: str, number: int, split: str) -> dict[str, Any]:
    messages = [*_turns(task, number), Message(role="assistant", content=_ANSWER)]
    return {
        "messages": messages,
        "task": task,
        "family": "specialised",
        "department": "儿科" if number % 2 else "新生儿科",
        "age_band": "young_infant" if number % 2 else "unknown",
        "age_months": None,
        **provenance({"messages": messages, "task": task}, _record(number, split), Step("role_play")),
    }


def write_source(run: SmallRun) -> None:
    def write(folder: Path) -> None:
        write_records(folder / "records.parquet", [_record(number, "") for number in range(20)])
        write_json_lines(folder / "rejects.jsonl", [Reject("read", "heading without text", "page 3", "目录").as_dict()])

    files = {"/home/somebody/project/examples/guidelines/fever.txt": "ab" * 32}
    counts = {"read": 21, "kept": 20, "rejected": 1, "files": 1, "pages": 7, "encoding gb18030": 1}
    run.done("corpus/sources/guidelines", write, files=files, counts=counts, settings=_source_settings())


def write_deidentification(run: SmallRun, floor_names: float = 0.95) -> None:
    """The real measurement, once a session; `floor_names` of the recipe."""

    def write(folder: Path) -> None:
        (folder / "measured.json").write_text(json.dumps({"enabled": True, **measurement()}), encoding="utf-8")

    settings = {"floor_numbers": 0.98, "floor_names": floor_names, "exempt_kinds": ["guideline"], "max_shift_days": 60}
    run.done("corpus/deidentification", write, settings={"deidentify": {"enabled": True, **settings}})


@functools.cache
def measurement() -> dict[str, Any]:
    """What is measured on the packaged test set, but names fall short a little."""
    from pediatricsgpt.corpus.deidentify.measure import Rate, measure

    found = measure().as_dict()
    return {**found, "recall": {**found["recall"], "names": Rate(458, 484).as_dict()}}


def write_curated(run: SmallRun) -> None:
    near = f"near-duplicate: 0.83 of {_record(3, 'train').id} (fever.txt, line 3)"
    rejects = [
        Reject("clean", "too short: 3 characters", "page 4", _record(99, "").as_dict()).as_dict(),
        Reject("deduplicate", near, "page 5", _record(98, "").as_dict()).as_dict(),
    ]
    counts = {
        "deidentify": {"read": 21, "kept": 21, "rejected": 0, "reasons": {}, "extra": {"name": 12, "phone": 3}},
        "clean": {"read": 21, "kept": 20, "rejected": 1, "reasons": {"too short": 1}},
        "deduplicate": {"read": 20, "kept": 19, "rejected": 1, "reasons": {"near-duplicate": 1}},
    }

    def write(folder: Path) -> None:
        write_records(folder / "records.parquet", [_record(number, "train") for number in range(19)])
        write_json_lines(folder / "rejects.jsonl", rejects)
        (folder / "counts.json").write_text(json.dumps(counts), encoding="utf-8")

    above = ["corpus/sources/guidelines", "corpus/deidentification"]
    run.done("corpus/curated", write, above, counts={"read": 21, "kept": 19, "rejected": 2})


def write_sets(run: SmallRun, held_out: str = "held_out") -> None:
    """Instructions, the sets and the card; groups of the held-out rows are named after the split that is given."""
    train = [_row(task, number, "train") for task in TASKS for number in range(6)]
    test = [_row(task, number, held_out) for task in TASKS for number in range(PER_TASK)]
    run.done("corpus/instructions", _rows(train + test, "instruction"), ["corpus/curated"], counts={"rows": 42})
    above = ["corpus/instructions"]
    texts = [{"text": "文", "form": "plain", **provenance("文", _record(n, "train"))} for n in range(4)]
    run.done("corpus/held_out", _rows(test, "instruction"), above, counts={"rows": len(test)})
    counts = {"rows": 4, "characters": 4, "decontaminated": 0}
    above = [*above, "corpus/held_out"]
    run.done("corpus/cpt", _checked(texts, "cpt", "cpt", []), [*above, "corpus/curated"], counts=counts)
    leaked = _row("medkqa", 77, "train")
    for name, rows in (("sft", train), ("experts", train + train)):
        counts = {"rows": len(rows), "decontaminated": 1}
        run.done(f"corpus/{name}", _checked(rows, "instruction", name, [(leaked, test[0])]), above, counts=counts)
    above = ["corpus/curated", *above]
    run.done("corpus/card", _card(train, test), above, counts={"rows": len(train)}, reads_all=True)


def _rows(rows: list[dict[str, Any]], kind: Any) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        write_rows(folder / "rows.parquet", rows, kind)
        write_json_lines(folder / "rejects.jsonl", [])

    return write


def _checked(
    rows: list[dict[str, Any]], kind: Any, name: str, pairs: list[tuple[dict[str, Any], dict[str, Any]]]
) -> Callable[[Path], None]:
    """A set with its leakage report; `pairs`: rows that were removed, each with the test item that it holds."""
    excerpt = "宝宝两个月发热三十八度五要不要马上去医院"
    match = {"test_set": "held_out", "side": "question", "row_side": "question", "how": "near", "score": 0.91}
    listed = [{"row": row["id"], "test_id": item["id"], **match, "excerpt": excerpt} for row, item in pairs]
    matched = len(pairs)
    found = {"items": 24, "unchecked": 2, "matched_rows": matched, "matched_items": matched, "share": matched / 24}
    kinds = {"question, near": matched} if matched else {}
    held_out = {**found, "removed": matched, "unread": 0, "unread_first": [], "pairs": kinds}
    report = {"training_set": name, "rows": len(rows) + matched, "matched_rows": matched, "pairs_total": matched}

    def write(folder: Path) -> None:
        write_rows(folder / "rows.parquet", rows, kind)
        dropped = [Reject("decontaminate", "in test set held_out: near", "line 5", row).as_dict() for row, _ in pairs]
        write_json_lines(folder / "rejects.jsonl", dropped)
        text = json.dumps({**report, "test_sets": {"held_out": held_out}, "pairs": listed})
        (folder / "leakage.json").write_text(text, encoding="utf-8")

    return write


def _card(train: list[dict[str, Any]], test: list[dict[str, Any]]) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        from pediatricsgpt.corpus.statistics import statistics

        found = statistics({"sft": train, "held_out": test})
        (folder / "statistics.json").write_text(json.dumps(found, ensure_ascii=False), encoding="utf-8")

    return write


def write_models(run: SmallRun) -> None:
    run.done("base", text("config.json"), counts={"parameters": 9_400_000, "vocabulary": 8000})
    for phase, before, data in (("cpt", "base", "cpt"), ("sft", "cpt", "sft")):
        run.done(
            phase, trained(training_log()), [before, f"corpus/{data}"], counts=phase_counts(), settings=phase_settings()
        )
    pair = {name: [_turns("medkqa", 1)[0]] for name in ("prompt", "chosen", "rejected")}
    rows = [{**pair, "aspect": "style", **provenance(str(n), _record(n, "train"))} for n in range(3)]
    counts = {"medical_pairs": 2, "general_pairs": 1, "rejected": 0}
    run.done("corpus/preferences", _rows(rows, "preference"), ["corpus/instructions", "sft"], counts=counts)
    write_dfpo(run, fall=0.4)
    run.done(
        "experts", trained(training_log()), ["dfpo", "corpus/experts"], counts=phase_counts(), settings=phase_settings()
    )


def write_dfpo(run: SmallRun, fall: float) -> None:
    """`fall`: by how many nats the preferred answers are less likely at the end, for each logged step."""
    log = [{**line, **preference_values(line["step"], fall)} for line in training_log()]
    settings = {**phase_settings(), "beta": 0.1, "mu": 1.0, "style_auc": 0.75}
    counts = {"rows": 30, "too_long": 0, "equal_sides": 2, "pairs": 28, "steps": 40, "parameters": 9_400_000}

    def write(folder: Path) -> None:
        trained(log)(folder)
        write_shortcuts(folder, [_ANSWER[: 20 + n % 9] for n in range(28)], [_ANSWER[: 20 + n % 7] for n in range(28)])

    run.done("dfpo", write, ["sft", "corpus/preferences"], counts=counts, settings=settings)


def write_evaluation(run: SmallRun, model: str, answer: str, per_task: int = PER_TASK) -> None:
    """What `evaluate` writes of one model; each answer is `answer` and the item's number."""
    rows = []
    for task in TASKS:
        for number in range(per_task):
            row = _row(task, number, "held_out")
            labels = {name: row[name] for name in ("task", "department", "age_band")}
            item = {"id": row["id"], "messages": row["messages"][:-1], "reference": _ANSWER, **labels}
            rows.append({**item, "prediction": f"{answer}{number}", "model": model})

    def write(folder: Path) -> None:
        write_json_lines(folder / "predictions.jsonl", rows)
        scores = score_file(folder / "predictions.jsonl").to_dict() | {"path": "predictions.jsonl"}
        (folder / "scores.json").write_text(json.dumps(scores, ensure_ascii=False), encoding="utf-8")
        loss = 7.0 - MODELS.index(model) / 2
        items = [RowLoss(str(n), 10 * loss + n % 3, 10, {"task": "medkqa", "source": "a"}) for n in range(5)]
        held_out = dataclasses.asdict(HeldOutLoss(loss, loss - 0.25, loss + 0.25, 24, 3210, 1, items))
        (folder / "held_out_loss.json").write_text(json.dumps(held_out), encoding="utf-8")
        ppl = {"rows": 8, "tokens": 765, "ppl": 20.0 + loss, "ppl_low": 18.0, "ppl_high": 31.0}
        text = {"whole": ppl, "by_form": {"plain": ppl}, "by_source": {"<books>": ppl}, "window": 64, "items": []}
        (folder / "text_loss.json").write_text(json.dumps(text), encoding="utf-8")

    run.done(f"evaluation/{model}", write, [model, "corpus/held_out"], counts={"items": len(rows)})
