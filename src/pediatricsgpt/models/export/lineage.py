"""Where a model comes from: base and licence, phases, data with their grounds, evaluation. Read from a run's files.

What no longer fits the model (a phase that was trained again since, a set that was built anew) is named as such and not
described: it is not what this model was made from.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import Any

from pediatricsgpt.errors import UserError
from pediatricsgpt.manifest import Manifest, read_manifest, versions
from pediatricsgpt.models.export.licence import UNKNOWN, Licence, licence_of
from pediatricsgpt.models.export.origin import RECIPE, Origin
from pediatricsgpt.models.opening import read_object

LINEAGE = "lineage.json"
_BASE = "base"
_TRAINED_ON = {"dfpo": "corpus/preferences"}
"""The sets of phases that are not named as they are; what else a phase reads is only measured on"""
_GROUNDS = ("name", "licence", "consent", "purpose")
_CHANGED = "changed since this model was trained"
_MISSING = "no longer there"


def lineage(origin: Origin) -> dict[str, Any]:
    """Everything that a model's files say of its origin, as JSON values without any path of this machine.

    Args:
        origin: the model.

    Returns:
        `name`, `base` (with `licence`), `phases` in the order of training, `corpus`, `evaluation`, `versions`.

    Raises:
        UserError: a file of the run is damaged.
    """
    run, phase = origin.run, origin.phase
    found: dict[str, Any] = {"name": _name(origin), "phase": phase, "experts": origin.has_experts}
    if run is None or phase is None:
        described = _base_named(origin.base, origin.adapter.get("revision")) if origin.base else _itself(origin)
        return {**found, "base": described, "phases": [], "corpus": None, "evaluation": None, "versions": versions()}
    chain = _chain(run, phase)
    return {
        **found,
        "base": _base_of_run(run),
        "phases": [_phase(run, *link) for link in chain if link[0] != _BASE],
        "corpus": _corpus(run, chain),
        "evaluation": _evaluation(run, phase),
        "versions": versions(),
    }


def _name(origin: Origin) -> str:
    if origin.folder is None:
        return origin.name.split("/")[-1]
    return f"{origin.run.name}-{origin.phase}" if origin.run is not None else origin.folder.name


def _chain(run: Path, phase: str) -> list[tuple[str, Manifest | None, str | None]]:
    """(node, manifest, why it no longer fits) from the base to `phase`."""
    found = []
    name: str | None = phase
    wanted: str | None = None  # what the later phase was trained on
    doubt: str | None = None
    while name is not None:
        manifest = read_manifest(run / name)
        if manifest is None:
            doubt = doubt or _MISSING
        elif wanted is not None and manifest.content != wanted:
            doubt = doubt or _CHANGED
        found.append((name, manifest, doubt))
        inputs = manifest.inputs if manifest is not None else {}
        name = next((key for key in inputs if "/" not in key and (run / key).is_dir()), None) if name != _BASE else None
        wanted = inputs.get(name) if name is not None else None
    return found[::-1]


def _phase(run: Path, name: str, manifest: Manifest | None, doubt: str | None) -> dict[str, Any]:
    if manifest is None or doubt is not None:
        return {"phase": name, "doubt": doubt}
    own = _TRAINED_ON.get(name, f"corpus/{name}")
    return {
        "phase": name,
        "content": manifest.content,
        "settings": portable(manifest.settings),
        "seed": manifest.seed,
        "counts": manifest.counts,
        "code": manifest.code,
        "versions": manifest.versions,
        "finished": manifest.finished,
        "data": [_data(run, key, content) for key, content in manifest.inputs.items() if key == own],
        "watched": [key for key in manifest.inputs if key.startswith("corpus/") and key != own],
    }


def _data(run: Path, name: str, content: str) -> dict[str, Any]:
    """A training set: how many rows of each source, and on what grounds they are used."""
    manifest = read_manifest(run / name)
    rows = run / name / "rows.parquet"
    found: dict[str, Any] = {"set": name, "content": content}
    if manifest is None or not rows.is_file():
        return {**found, "doubt": _MISSING}
    if manifest.content != content:
        return {**found, "doubt": _CHANGED}
    return {**found, "counts": manifest.counts, "sources": _sources(rows)}


def _sources(rows: Path) -> list[dict[str, Any]]:
    """Counted from the rows themselves, the largest source first."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(rows, columns=[f"source.{field}" for field in _GROUNDS])
        counted = table.flatten() if table.column_names == ["source"] else table
        counted = counted.rename_columns(list(_GROUNDS)).group_by(list(_GROUNDS)).aggregate([([], "count_all")])
    except (pa.ArrowException, KeyError, OSError) as error:
        raise UserError(f"damaged Parquet file ({' '.join(str(error).split())}); run its step again", rows) from error
    found = [{**{key: row[key] for key in _GROUNDS}, "rows": row["count_all"]} for row in counted.to_pylist()]
    return sorted(found, key=lambda source: (-source["rows"], source["name"]))


def _corpus(run: Path, chain: list[tuple[str, Manifest | None, str | None]]) -> dict[str, Any] | None:
    """The corpus's own card, where it describes the very sets that this model was trained on."""
    manifest = read_manifest(run / "corpus/card")
    if manifest is None or not (run / "corpus/card/README.md").is_file():
        return None
    used = {key: value for _, phase, doubt in chain if phase and not doubt for key, value in phase.inputs.items()}
    told = {key: told for key, told in manifest.inputs.items() if key in used}
    fits = all(_is_described(run, key, used[key], told[key]) for key in told)
    return {"name": run.name, "counts": manifest.counts} if told and fits else None


def _is_described(run: Path, name: str, used: str, told: str) -> bool:
    """Whether a set is still the one that was used, and the one that the card (which knows it as a whole) tells of."""
    manifest = read_manifest(run / name)
    return manifest is not None and manifest.content == used and told in (manifest.content, manifest.whole)


def _evaluation(run: Path, phase: str) -> dict[str, Any] | None:
    """Held-out loss and scores, with n and intervals, where they were measured on this very model."""
    folder = run / "evaluation" / phase
    manifest, model = read_manifest(folder), read_manifest(run / phase)
    if manifest is None or model is None:
        return None
    if manifest.inputs.get(phase) != model.content:
        return {"doubt": _CHANGED}
    scores = _json(folder / "scores.json") or {}
    by_task = scores.get("groups", {}).get("task", {})
    return {
        "settings": portable(manifest.settings),
        "loss": _json(folder / "held_out_loss.json"),
        "signature": scores.get("signature"),
        "metrics": scores.get("metrics", {}),
        "by_task": {task: values["metrics"] for task, values in by_task.items()},
        "warnings": scores.get("warnings", []),
    }


def _base_of_run(run: Path) -> dict[str, Any]:
    """The base that a run began with."""
    reference = _json(run / _BASE / "base.json")
    if reference is not None:
        revision, own_code = reference.get("revision"), bool(reference.get("trust_remote_code"))
        return {**_base_named(str(reference["base"]), revision), "trust_remote_code": own_code}
    manifest = read_manifest(run / _BASE)
    settings = manifest.settings if manifest is not None and isinstance(manifest.settings, dict) else {}
    shape = settings.get("init")
    return {"kind": "new" if shape else UNKNOWN, "name": None, "shape": shape, "licence": _plain(Licence())}


def _base_named(name: str, revision: str | None = None) -> dict[str, Any]:
    """A base by its folder or hub id; one that is a phase of another run, or an export, brings its own lineage."""
    folder = Path(name)
    if not folder.is_dir():
        cached = files_of(name, revision)
        licence = licence_of(cached) if cached is not None else Licence()
        return {"kind": "hub", "name": name, "revision": revision, "licence": _plain(licence)}
    found: dict[str, Any] = {"kind": "folder", "name": folder.name, "revision": None}
    if (folder.parent / RECIPE).is_file():
        below = lineage(Origin(name, folder, folder.parent))
        return {**found, "name": below["name"], "licence": below["base"]["licence"], "lineage": below}
    earlier = _json(folder / LINEAGE)
    return {**found, "licence": _plain(licence_of(folder)), **({"lineage": earlier} if earlier else {})}


def _itself(origin: Origin) -> dict[str, Any]:
    """A model of which nothing but its own folder is known."""
    return _base_named(origin.name if origin.folder is None else str(origin.folder))


def files_of(name: str, revision: str | None = None) -> Path | None:
    """Where the files of a model lie on this machine: its folder, or the hub's cache. The network is not asked."""
    from huggingface_hub import try_to_load_from_cache

    if Path(name).is_dir():
        return Path(name)
    config = try_to_load_from_cache(name, "config.json", revision=revision)
    return Path(config).parent if isinstance(config, str) else None


def _plain(licence: Licence) -> dict[str, Any]:
    return {**dataclasses.asdict(licence), "text": licence.text}


def portable(value: Any) -> Any:
    """Settings without the places of this machine: of a path from the root, the last part."""
    if isinstance(value, Mapping):
        return {key: portable(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [portable(one) for one in value]
    return PurePath(value).name if isinstance(value, str) and PurePath(value).is_absolute() else value


def _json(path: Path) -> dict[str, Any] | None:
    return read_object(path, again="run its step again") if path.is_file() else None
