"""What a run's folder holds, for the report: what is not there yet is None, what is damaged is an error with its place.

The report reads files only. It knows a run by its folder and not by the code that fills it, so that an old run, or
half of one, can be reported on.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from pediatricsgpt.errors import UserError
from pediatricsgpt.evaluation.compare import MODELS
from pediatricsgpt.manifest import MANIFEST, Manifest, read_manifest
from pediatricsgpt.records import read_json_lines

PHASES = MODELS[1:]
ROWS = "rows.parquet"
REJECTS = "rejects.jsonl"
TRAIN_SETS = {"cpt": "corpus/cpt", "sft": "corpus/sft", "dfpo": "corpus/preferences", "experts": "corpus/experts"}
HELD_OUT = "corpus/held_out"
BENCHMARKS = "evaluation/benchmarks"

LEAKAGE = "leakage.json"

_BEFORE_MODELS = (
    "corpus/deidentification",
    "corpus/curated",
    "corpus/instructions",
    HELD_OUT,
    "corpus/cpt",
    "corpus/sft",
    "corpus/experts",
    "corpus/card",
)
_MODEL_NODES = ("base", "cpt", "sft", "corpus/preferences", "dfpo", "experts")


class RunFiles:
    """A run's folder, read once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._manifests: dict[str, Manifest | None] = {}

    def manifest(self, node: str) -> Manifest | None:
        """The manifest of a step; None while the step is not done.

        Raises:
            UserError: it is damaged.
        """
        if node not in self._manifests:
            found = read_manifest(self.folder / node)
            if found is not None:
                with expected(self.folder / node / MANIFEST):
                    _check(found)
            self._manifests[node] = found
        return self._manifests[node]

    def holds(self, node: str, content: str) -> bool:
        """Whether a step still has the content that another one read.

        What tells people about a step, the corpus card, has read all of it: rejects and reports, too.
        """
        found = self.manifest(node)
        return found is not None and content in (found.content, found.whole)

    def done(self) -> dict[str, Manifest]:
        """The manifests of all steps that are done, in the order of the run."""
        found = {node: self.manifest(node) for node in self.nodes}
        return {node: manifest for node, manifest in found.items() if manifest is not None}

    def count(self, node: str, name: str) -> Any:
        """One count of a step's manifest, or None."""
        manifest = self.manifest(node)
        return None if manifest is None else manifest.counts.get(name)

    @cached_property
    def nodes(self) -> tuple[str, ...]:
        """All steps of the run in their order, done or not; of those that only some recipes have, what is done."""
        if self.is_comparison:
            return self._measured
        return (
            *(f"corpus/sources/{name}" for name in self.sources),
            *_BEFORE_MODELS,
            *_MODEL_NODES,
            *(f"evaluation/{model}" for model in MODELS),
            *self._measured,
        )

    @cached_property
    def is_comparison(self) -> bool:
        """Whether the recipe only measures models that are there: nothing is built and nothing trained."""
        return "evaluation" in self.recipe and not {"corpus", "model"} & self.recipe.keys()

    @cached_property
    def _measured(self) -> tuple[str, ...]:
        """Benchmarks, contamination, judging and so on, as far as they are done."""
        found = [path for depth in ("*", "*/*", "*/*/*") for path in self.folder.glob(f"evaluation/{depth}/{MANIFEST}")]
        names = sorted(path.parent.relative_to(self.folder).as_posix() for path in found)
        own = {f"evaluation/{model}" for model in MODELS}
        whole = [name for name in names if not any(part.endswith((".partial", ".old")) for part in name.split("/"))]
        return tuple(name for name in whole if name not in own)

    @cached_property
    def sources(self) -> tuple[str, ...]:
        """Names of the sources: those of the recipe, then others that were read once."""
        with expected(self.folder / "recipe.yaml"):
            named = [str(source["name"]) for source in self.recipe.get("corpus", {}).get("sources", [])]
        read = sorted(path.parent.name for path in self.folder.glob("corpus/sources/*/manifest.json"))
        finished = [name for name in read if not name.endswith((".partial", ".old"))]
        return tuple(dict.fromkeys([*named, *finished]))

    @cached_property
    def recipe(self) -> dict[str, Any]:
        """The recipe that the run keeps beside its results; empty if there is none.

        Raises:
            UserError: it is not a YAML mapping.
        """
        path = self.folder / "recipe.yaml"
        if not path.is_file():
            return {}
        try:
            values = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise UserError(f"damaged recipe: {' '.join(str(error).split())}", path) from error
        if not isinstance(values, dict):
            raise UserError("damaged recipe: not a mapping", path)
        return values

    def json(self, name: str) -> Any:
        """The content of a JSON file below the run's folder; None if it is not there.

        Raises:
            UserError: it is not JSON.
        """
        path = self.folder / name
        if not path.is_file():
            return None
        try:
            return json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise UserError(f"damaged JSON ({error}); delete the folder to have it made again", path) from error

    def leakage(self, node: str) -> Any:
        """What a training set's leakage report says; None while the set is not built."""
        return self.json(f"{node}/{LEAKAGE}") if self.manifest(node) else None

    def stream(self, name: str) -> Iterator[Any]:
        """The values of a file of JSON lines below the run's folder, one after the other; none if it is not there.

        Raises:
            UserError: a line is not JSON; it is named.
        """
        path = self.folder / name
        if path.is_file():
            yield from (value for _, value in read_json_lines(path))

    def lines(self, name: str) -> list[Any] | None:
        """The values of a file of JSON lines below the run's folder; None if it is not there.

        Raises:
            UserError: a line is not JSON; it is named.
        """
        path = self.folder / name
        return [value for _, value in read_json_lines(path)] if path.is_file() else None

    def column(self, name: str, column: str) -> list[Any] | None:
        """One column of a Parquet file below the run's folder; None if it is not there. The rest is not read.

        Raises:
            UserError: it is no Parquet file, or it lacks the column.
        """
        table = self._table(name, columns=[column])
        if table is None:
            return None
        if column not in table.column_names:
            raise UserError(f"damaged Parquet file, no column '{column}'", self.folder / name)
        values: list[Any] = table.column(column).to_pylist()
        return values

    def rows_with(self, name: str, ids: Collection[str]) -> dict[str, dict[str, Any]]:
        """The rows of a Parquet file that have one of the ids, by it; the file is filtered while it is read.

        Raises:
            UserError: it is no Parquet file.
        """
        table = self._table(name, filters=[("id", "in", sorted(ids))]) if ids else None
        return {} if table is None else {row["id"]: row for row in table.to_pylist()}

    def counted(self, name: str, column: str, fields: Sequence[str]) -> dict[tuple[str, ...], int]:
        """How often each combination of values occurs in text fields of a structured column of a Parquet file.

        Raises:
            UserError: it is no Parquet file, or it lacks the column.
        """
        table = self._table(name, columns=[f"{column}.{field}" for field in fields])
        if table is None:
            return {}
        if table.column_names != list(fields):
            raise UserError(f"damaged Parquet file, no column '{column}' with {', '.join(fields)}", self.folder / name)
        found = table.group_by(list(fields)).aggregate([([], "count_all")]).to_pylist()
        return {tuple(str(row[field]) for field in fields): int(row["count_all"]) for row in found}

    def _table(self, name: str, **options: Any) -> Any:
        import pyarrow as pa
        import pyarrow.parquet as pq

        path = self.folder / name
        if not path.is_file():
            return None
        try:
            return pq.read_table(path, **options)
        except (pa.ArrowInvalid, KeyError, OSError) as error:
            raise UserError(f"damaged Parquet file ({error})", path) from error


def _check(manifest: Manifest) -> None:
    """TypeError where a field is of another kind than this version writes: a manifest is read without a schema."""
    kinds: dict[str, type | tuple[type, ...]] = {
        **dict.fromkeys(("inputs", "counts", "versions"), dict),
        **dict.fromkeys(("node", "fingerprint", "content", "code", "finished"), str),
        **dict.fromkeys(("seconds", "peak_memory_mb", "threads", "seed"), (int, float)),
    }
    wrong = [name for name, kind in kinds.items() if not isinstance(getattr(manifest, name), kind)]
    if wrong:
        raise TypeError(f"field '{wrong[0]}'")


@contextlib.contextmanager
def expected(where: Path) -> Iterator[None]:
    """While values of a file are taken apart: a form that its writer never writes is a UserError with its place."""
    try:
        yield
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise UserError(f"not in the form that this version writes ({reason}); run its step again", where) from error


def is_exempt(source: Mapping[str, Any], settings: Mapping[str, Any]) -> bool:
    """Whether the recipe leaves a source as it is, by its kind or by its name."""
    named = source.get("name") in settings.get("exempt_sources", ())
    return named or source.get("kind") in settings.get("exempt_kinds", ())
