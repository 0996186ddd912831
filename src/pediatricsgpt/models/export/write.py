"""Writing an export: weights, tokenizer, card and lineage, in a folder that is either whole or not there.

    from pediatricsgpt.models.export import ExportSettings, export

    export("runs/demo/dfpo", Path("pediatrics-demo"), ExportSettings(dtype="bfloat16"))

What comes out needs nothing of ours: transformers opens it (Baichuan excepted, whose classes transformers lacks), and
for the mixture of experts PEFT does once `pediatricsgpt.experts` is imported.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pediatricsgpt.errors import UserError
from pediatricsgpt.manifest import MANIFEST
from pediatricsgpt.models.adapter import CONFIG as ADAPTER_CONFIG
from pediatricsgpt.models.encode import end_of_turn
from pediatricsgpt.models.export.card import model_card
from pediatricsgpt.models.export.folder import check_out, whole
from pediatricsgpt.models.export.licence import legal_files
from pediatricsgpt.models.export.lineage import LINEAGE, files_of, lineage, portable
from pediatricsgpt.models.export.origin import Origin, find
from pediatricsgpt.models.load import BASE_REFERENCE, Loaded, load

FORMS = ("hf", "adapter")
DTYPES = ("float32", "bfloat16", "float16")
MAX_SHARD = "5GB"
BASE, ADAPTER, CORPUS = "base", "adapter", "corpus"
_SPARE_BYTES = 64_000_000  # for the tokenizer, the cards and the file system's own
_SENTENCEPIECE = "tokenizer.model"
_ENVIRONMENT = ("is_local", "local_files_only")  # what transformers notes of how a tokenizer was opened here


@dataclass(frozen=True, slots=True)
class ExportSettings:
    """What is to be written."""

    form: str = "hf"
    """`hf`: one whole model; `adapter`: the base and the adapter beside one another"""
    dtype: str | None = None
    """`float32`, `bfloat16` or `float16`; None keeps the stored type"""
    merge_universal: bool = False
    """With `adapter`: merge the universal expert into the base; the specific ones stay the adapter"""
    fold_head: bool = False
    """Store Baichuan2's output head with rows of length 1, for readers that do not know its norm (llama.cpp)"""
    overwrite: bool = False
    """Replace an earlier export"""


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written."""

    folder: Path
    parameters: int
    dtype: str
    licence: str
    notes: tuple[str, ...]
    """What the user has to know before passing it on"""


def export(where: str, out: Path, settings: ExportSettings | None = None) -> Exported:
    """Write a model into a new folder, with its card (`README.md`) and its lineage (`lineage.json`).

    Adapters are merged in float32 and rounded once. The folder appears when it is whole.

    Args:
        where: a run's phase folder, a model or adapter folder, or a hub id.
        out: the folder to make; it must not be there yet or be empty.
        settings: form, type and what is merged.

    Raises:
        UserError: anything that cannot be exported as asked; nothing is left behind then.
    """
    settings = settings or ExportSettings()
    origin = find(where)
    _check_form(origin, settings)
    check_out(origin, out, settings.overwrite)
    with whole(out) as partial:
        model, tokenizer = _write_weights(origin, settings, partial)
        described = lineage(origin)
        described["export"] = _changes(origin, settings, model)
        (partial / LINEAGE).write_text(json.dumps(described, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
        _write_beside(origin, described, partial)
        (partial / "README.md").write_text(model_card(described, _window(model), tokenizer), encoding="utf-8")
    made = described["export"]
    licence = described["base"]["licence"]["text"]
    return Exported(out, made["parameters"], made["dtype"], licence, tuple(made["notes"]))


def _check_form(origin: Origin, settings: ExportSettings) -> None:
    if settings.form not in FORMS:
        raise UserError(f"no form '{settings.form}'; there are {', '.join(FORMS)}")
    if settings.dtype not in (None, *DTYPES):
        raise UserError(f"no type '{settings.dtype}'; there are {', '.join(DTYPES)}")
    if settings.form == "hf" and origin.has_experts:
        raise UserError(
            "the experts cannot be merged into one model: their gates depend on each token. Use --to adapter (base "
            "and adapter side by side; --merge-universal puts the universal expert into the base), or export the phase "
            "before it",
            origin.name,
        )
    if settings.form == "adapter" and not origin.adapter:
        raise UserError("this is a whole model without an adapter; use --to hf", origin.name)
    if settings.merge_universal and not (settings.form == "adapter" and origin.has_experts):
        raise UserError("--merge-universal is for the experts phase with --to adapter", origin.name)


def _write_weights(origin: Origin, settings: ExportSettings, partial: Path) -> tuple[Any, Any]:
    """Write weights and tokenizer; gives the model as written, and its tokenizer."""
    if settings.form == "hf":
        loaded = _dense(origin, settings.dtype)
        _save(loaded, settings, partial, _folder_of_base(origin))
        return loaded.model, loaded.tokenizer
    loaded = _beside(origin, settings, partial / ADAPTER)
    _save(loaded, settings, partial / BASE, _folder_of_base(origin))
    _point_to_base(partial / ADAPTER)
    return loaded.model, loaded.tokenizer


def _dense(origin: Origin, dtype: str | None) -> Loaded:
    """A whole model; an adapter is merged."""
    if not origin.adapter:
        return _plain(load(origin.name, dtype=dtype or "auto"), origin)
    loaded = load(origin.name, dtype="float32")  # so that merging rounds once
    try:
        merged = loaded.model.merge_and_unload(safe_merge=True)
    except (AttributeError, NotImplementedError, ValueError) as error:
        kind = origin.adapter.get("peft_type")
        reason = " ".join(str(error).split())
        raise UserError(f"this {kind} adapter cannot be merged ({reason}); use --to adapter", origin.name) from error
    return Loaded(_typed(merged, dtype or _stored_type(origin)), loaded.tokenizer, loaded.name)


def _beside(origin: Origin, settings: ExportSettings, adapter: Path) -> Loaded:
    """The base of an adapter, and the adapter written beside it; one in the authors' layout is written in ours."""
    if not settings.merge_universal and not origin.released:
        adapter.mkdir()
        assert origin.folder is not None
        for file in sorted(origin.folder.glob("adapter_*")):
            shutil.copyfile(file, adapter / file.name)
        _keep_manifest(origin, adapter)
        return _plain(load(str(origin.base), dtype=settings.dtype or "auto"), origin)
    loaded = load(origin.name, dtype="float32")
    if settings.merge_universal:
        try:
            loaded.model.base_model.merge_universal()
        except NotImplementedError as error:
            raise UserError(str(error), origin.name) from error
    for config in loaded.model.peft_config.values():
        config.base_model_name_or_path = origin.base  # PEFT looks there whether the vocabulary was changed
    loaded.model.save_pretrained(str(adapter))
    (adapter / "README.md").unlink(missing_ok=True)  # an empty form of PEFT's; ours stands above
    _keep_manifest(origin, adapter)
    base = _typed(loaded.model.unload(), settings.dtype or _stored_type(origin))
    return Loaded(base, loaded.tokenizer, loaded.name)


def _keep_manifest(origin: Origin, adapter: Path) -> None:
    """A phase's manifest: by it `models.load` finds the base beside the adapter, wherever both are moved to."""
    if origin.phase is not None and origin.folder is not None:
        values = portable(json.loads((origin.folder / MANIFEST).read_text(encoding="utf-8")))
        (adapter / MANIFEST).write_text(json.dumps(values, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def _plain(loaded: Loaded, origin: Origin) -> Loaded:
    """The same, once it is known to be a whole model in its full weights."""
    if getattr(loaded.model.config, "quantization_config", None) is not None:
        raise UserError("this model is quantised; export its original", origin.name)
    return loaded


def _stored_type(origin: Origin) -> str:
    """The type in which the base of an adapter is stored."""
    from transformers import PreTrainedConfig

    base = str(origin.base)
    reference = Path(base) / BASE_REFERENCE
    base = json.loads(reference.read_text(encoding="utf-8"))["base"] if reference.is_file() else base
    values, _ = PreTrainedConfig.get_config_dict(base, revision=origin.adapter.get("revision"))
    stored = values.get("dtype") or values.get("torch_dtype")
    return stored if stored in DTYPES else "float32"


def _typed(model: Any, dtype: str) -> Any:
    import torch

    return model.to(getattr(torch, dtype))


def _save(loaded: Loaded, settings: ExportSettings, folder: Path, base: Path | None) -> None:
    """Write a model and its tokenizer in plain Hugging Face form."""
    folder.mkdir(exist_ok=True)
    model, tokenizer = loaded.model, loaded.tokenizer
    if settings.fold_head:
        _fold(model, loaded.name)
    _check_room(model, folder)
    model.config.use_cache = True  # training switches it off
    _set_ends(model, tokenizer)
    try:
        model.save_pretrained(str(folder), max_shard_size=MAX_SHARD)
    except ValueError as error:  # a generation configuration that contradicts itself
        raise UserError(f"cannot be saved: {' '.join(str(error).split())[:300]}", loaded.name) from error
    tokenizer.save_pretrained(str(folder))
    _edit(folder / "tokenizer_config.json", lambda values: [values.pop(name, None) for name in _ENVIRONMENT])
    original = base / _SENTENCEPIECE if base is not None else None
    if original is not None and original.is_file() and not (folder / _SENTENCEPIECE).exists():
        shutil.copyfile(original, folder / _SENTENCEPIECE)  # llama.cpp's converter reads it


def _fold(model: Any, name: str) -> None:
    head = model.get_output_embeddings()
    if not hasattr(head, "fold"):
        raise UserError("--fold-head: this model's output head has no norm to fold (that of Baichuan2 has)", name)
    head.fold()


def _check_room(model: Any, folder: Path) -> None:
    """Ask the disk before minutes of writing."""
    needed = sum(weight.numel() * weight.element_size() for weight in model.parameters()) + _SPARE_BYTES
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise UserError(
            f"the disk has {free / 1e9:.1f} GB free and the export takes {needed / 1e9:.1f} GB; free some space or "
            "name another folder",
            folder.parent,
        )


def _set_ends(model: Any, tokenizer: Any) -> None:
    """Let plain `generate` stop where the chat template ends a turn, which may be another token than a text's end."""
    config = model.generation_config
    listed = config.eos_token_id if isinstance(config.eos_token_id, list) else [config.eos_token_id]
    turn = end_of_turn(tokenizer) if isinstance(tokenizer.chat_template, str) else None
    ends = sorted({token for token in (*listed, tokenizer.eos_token_id, turn) if token is not None})
    config.eos_token_id = ends[0] if len(ends) == 1 else ends or None
    if config.pad_token_id is None:
        config.pad_token_id = tokenizer.pad_token_id


def _folder_of_base(origin: Origin) -> Path | None:
    """Where the base that everything began with lies on this machine, if it does."""
    start = str(origin.run / BASE) if origin.run is not None else origin.base or str(origin.folder or origin.name)
    reference = Path(start) / BASE_REFERENCE
    if reference.is_file():
        values = json.loads(reference.read_text(encoding="utf-8"))
        return files_of(values["base"], values["revision"])
    return files_of(start)


def _point_to_base(adapter: Path) -> None:
    """The base by a relative path: nobody's folders stand in an export."""
    _edit(adapter / ADAPTER_CONFIG, lambda values: values.update(base_model_name_or_path=f"../{BASE}", revision=None))


def _edit(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change a JSON file that a library has written."""
    values = json.loads(path.read_text(encoding="utf-8"))
    change(values)
    path.write_text(json.dumps(values, ensure_ascii=False, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _changes(origin: Origin, settings: ExportSettings, model: Any) -> dict[str, Any]:
    """What the export itself did."""
    head = getattr(model, "lm_head", None)
    normalised = bool(getattr(model.config, "normalized_head", False)) and head is not None
    notes: list[str] = []
    if normalised and not settings.fold_head:
        notes.append("the output head is normalised at use; for GGUF export again with --fold-head")
    if model.config.model_type == "baichuan":
        notes.append(
            "transformers has no Baichuan classes: call pediatricsgpt.models.baichuan.register() before loading"
        )
    return {
        "form": settings.form,
        "dtype": str(model.dtype).removeprefix("torch."),
        "parameters": sum(weight.numel() for weight in model.parameters()),
        "architecture": type(model).__name__,
        "merged_adapter": origin.adapter.get("peft_type") if settings.form == "hf" else None,
        "merged_universal": settings.merge_universal,
        "folded_head": settings.fold_head,
        "normalised_head": normalised,
        "baichuan": model.config.model_type == "baichuan",
        "notes": notes,
    }


def _write_beside(origin: Origin, described: dict[str, Any], partial: Path) -> None:
    """The corpus's card, and the base's licence files, which go with every copy."""
    if described["corpus"] is not None and origin.run is not None:
        (partial / CORPUS).mkdir()
        for name in ("README.md", "statistics.svg"):
            card = origin.run / "corpus/card" / name
            if card.is_file():
                shutil.copyfile(card, partial / CORPUS / name)
    base = _folder_of_base(origin)
    for file in legal_files(base) if base is not None else ():
        if not (partial / file.name).exists():
            shutil.copyfile(file, partial / file.name)


def _window(model: Any) -> int | None:
    window: int | None = getattr(model.config, "max_position_embeddings", None)
    return window
