"""Making a small base, and loading any model: a run's phase folder, a local folder or a hub id."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from pediatricsgpt.errors import UserError, require_extra
from pediatricsgpt.manifest import digest, hash_folder
from pediatricsgpt.models import adapter
from pediatricsgpt.models.encode import encode_dialogue
from pediatricsgpt.models.opening import commit_of, is_hub_id, open_part, open_weights, read_object, transformers
from pediatricsgpt.models.settings import InitSettings, ModelSettings
from pediatricsgpt.records import Message

QUANTISED: dict[str, dict[str, Any]] = {
    "int8": {"load_in_8bit": True},
    "nf4": {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4", "bnb_4bit_use_double_quant": True},
}
"""Types of weights that bitsandbytes makes while a model is loaded, in its own words"""
_EXCHANGE = [Message(role=role, content=role) for role in ("user", "assistant", "user", "assistant")]
BASE_REFERENCE = "base.json"
_IDENTITY = "identity.json"
_WEIGHTS = ("*.safetensors", "pytorch_model*.bin")
_TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "*.tiktoken", "tokenization_*.py")


@dataclass(slots=True)
class Loaded:
    """A model with its tokenizer. `model` is a transformers or PEFT causal language model."""

    model: Any
    tokenizer: Any
    name: str
    """Folder or hub id, as it was asked for"""


def make_base(settings: ModelSettings, folder: Path, recipe_folder: Path, seed: int) -> dict[str, Any]:
    """Write the base of a run into `folder`: new weights for `init`, or a reference for `base`.

    Returns:
        counts for the manifest: parameters and vocabulary of a new model.

    Raises:
        UserError: the tokenizer or the base is not where the recipe says.
    """
    if settings.init is None:
        return _refer(settings, folder, recipe_folder)
    tokenizer = _tokenizer_for_init(settings, recipe_folder)
    encode_dialogue(tokenizer, _EXCHANGE)  # a template that cannot serve is told before anything is trained
    model = _new_model(settings.init, tokenizer, seed)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return {"parameters": sum(weight.numel() for weight in model.parameters()), "vocabulary": len(tokenizer)}


def _refer(settings: ModelSettings, folder: Path, recipe_folder: Path) -> dict[str, Any]:
    """Write where the base lies, and apart from that what it is: only the latter makes later work outdated."""
    reference = _reference_of(settings, recipe_folder)
    base = reference["base"]
    local = Path(base).is_dir()
    if not local:  # the commit that a branch stands at now, so that all phases load the same weights
        reference["revision"] = commit_of(base, reference["revision"]) or reference["revision"]
    else:
        reference["revision"] = None
    content = hash_folder(Path(base)) if local else f"{base}@{reference['revision']}"
    encode_dialogue(tokenizer_of(settings, recipe_folder), _EXCHANGE)  # a template that cannot serve is told now
    identity = {"content": content, "chat_template": reference["chat_template"]}
    for name, value in ((BASE_REFERENCE, reference), (_IDENTITY, identity)):
        (folder / name).write_text(json.dumps(value, ensure_ascii=False, indent=1), encoding="utf-8")
    return {}


def _reference_of(settings: ModelSettings, recipe_folder: Path) -> dict[str, Any]:
    """Which base a recipe means, and how it is opened: of another run's base all that this run set, too.

    What the recipe sets itself goes before that.
    """
    base = local_or_hub(str(settings.base), recipe_folder)
    path = (recipe_folder / str(settings.base)).expanduser()
    other = _read_reference(path) if (path / BASE_REFERENCE).is_file() else {}
    return {
        "base": base,
        "revision": settings.revision or other.get("revision"),
        "trust_remote_code": settings.trust_remote_code or other.get("trust_remote_code", False),
        "chat_template": _template_text(settings, recipe_folder) or other.get("chat_template"),
    }


def local_or_hub(name: str, recipe_folder: Path) -> str:
    """A path relative to the recipe as an absolute one; anything that is no folder stays a hub id.

    Raises:
        UserError: it looks like a path, and there is no such folder.
    """
    path = (recipe_folder / name).expanduser()
    if path.is_dir():
        if (path / BASE_REFERENCE).is_file():  # the base of another run, which only points to one
            return str(_read_reference(path)["base"])
        if (path / adapter.CONFIG).is_file():
            raise UserError("a base must be a whole model, and this is an adapter; take the model below it", path)
        _check_folder(path)
        return str(path.resolve())
    if name.startswith((".", "/", "~")) or name.count("/") != 1:
        raise UserError("no such model folder", path)
    return name


def _template_text(settings: ModelSettings, recipe_folder: Path) -> str | None:
    if settings.chat_template is None:
        return None
    path = recipe_folder / settings.chat_template
    if not path.is_file():
        raise UserError("no such chat template", path)
    return path.read_text(encoding="utf-8")


def _tokenizer_for_init(settings: ModelSettings, recipe_folder: Path) -> Any:
    library = transformers()
    folder = recipe_folder / (settings.tokenizer or Path())
    if not (folder / "tokenizer.json").is_file():
        raise UserError("no tokenizer.json in this folder", folder)
    tokenizer = library.PreTrainedTokenizerFast(
        tokenizer_file=str(folder / "tokenizer.json"),
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        clean_up_tokenization_spaces=False,
    )
    packaged = resources.files("pediatricsgpt.models").joinpath("chat_template.jinja").read_text(encoding="utf-8")
    tokenizer.chat_template = _template_text(settings, recipe_folder) or packaged.strip()
    return tokenizer


def _new_config(settings: InitSettings, tokenizer: Any) -> Any:
    shape = settings.model_dump(exclude={"architecture"})
    return transformers().Qwen3Config(
        **shape,
        vocab_size=len(tokenizer),
        tie_word_embeddings=True,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=None,
    )


def _new_model(settings: InitSettings, tokenizer: Any, seed: int) -> Any:
    library = transformers()
    library.set_seed(seed)
    model = library.Qwen3ForCausalLM(_new_config(settings, tokenizer))
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    return model


def tokenizer_of(settings: ModelSettings, recipe_folder: Path) -> Any:
    """The tokenizer that a recipe's models have, without making or loading a model."""
    if settings.init is not None:
        return _tokenizer_for_init(settings, recipe_folder)
    reference = _reference_of(settings, recipe_folder)
    tokenizer = open_part("AutoTokenizer", reference["base"], **_reference_arguments(reference))
    tokenizer.chat_template = reference["chat_template"] or tokenizer.chat_template
    return tokenizer


def config_of(settings: ModelSettings, recipe_folder: Path) -> Any:
    """The configuration that a recipe's models have, without making or loading one.

    Raises:
        UserError: there is no such base, or its configuration cannot be read.
    """
    if settings.init is not None:
        return _new_config(settings.init, _tokenizer_for_init(settings, recipe_folder))
    reference = _reference_of(settings, recipe_folder)
    return open_part("AutoConfig", reference["base"], **_reference_arguments(reference))


def untrained(config: Any, trust_remote_code: bool = False, dtype: str = "float32") -> Any:
    """A causal LM of this configuration, its weights initialised; cheap on PyTorch's meta device."""
    import torch

    from pediatricsgpt.models import baichuan

    baichuan.register(weights=True)
    arguments = {"trust_remote_code": True} if trust_remote_code else {}
    return transformers().AutoModelForCausalLM.from_config(config, dtype=getattr(torch, dtype), **arguments)


def load(where: str | Path, *, dtype: str | None = None, trainable: bool = False) -> Loaded:
    """Load a model: a phase folder of a run, a local folder (also of an adapter) or a hub id of a whole model.

    Args:
        where: folder or hub id.
        dtype: a torch name such as `float32`, or `int8` or `nf4` for weights that bitsandbytes quantises, which an
            adapter can be trained on; None loads for inference: onto the GPU in bfloat16 where there is one, else in
            float32 on the CPU.
        trainable: keep an adapter's weights trainable and the model in training mode.

    Raises:
        UserError: no such folder, weights that are missing, damaged or do not fit, or the hub cannot be reached.
    """
    return _load(where, dtype, trainable)


def _load(where: str | Path, dtype: str | None, trainable: bool, revision: str | None = None) -> Loaded:
    folder = Path(where).expanduser()
    if not folder.is_dir():
        arguments = {"revision": revision} if revision else {}
        return _load_weights(_hub_name(where), dtype, trainable, name=str(where), arguments=arguments)
    if (folder / BASE_REFERENCE).is_file():
        return _load_reference(folder, dtype, trainable)
    if (folder / adapter.CONFIG).is_file():
        return _load_adapter(folder, dtype, trainable)
    _check_folder(folder)
    return _load_weights(str(folder), dtype, trainable, name=str(where))


def _reference_arguments(reference: dict[str, Any]) -> dict[str, Any]:
    return {"revision": reference["revision"] or "main", "trust_remote_code": reference["trust_remote_code"]}


def _read_reference(folder: Path) -> dict[str, Any]:
    """What a run's base folder says of the base that it points to."""
    path = folder / BASE_REFERENCE
    found = {"revision": None, "trust_remote_code": False, "chat_template": None, **read_object(path)}
    base = found.get("base")
    if not isinstance(base, str):
        raise UserError("this names no base; make the run's base again", path)
    if Path(base).is_absolute() and not Path(base).is_dir():
        raise UserError(f"the base that this points to is no longer there ({base}); put it back", path)
    return found


def _load_reference(folder: Path, dtype: str | None, trainable: bool) -> Loaded:
    reference = _read_reference(folder)
    loaded = _load_weights(
        reference["base"], dtype, trainable, name=str(folder), arguments=_reference_arguments(reference)
    )
    loaded.tokenizer.chat_template = reference["chat_template"] or loaded.tokenizer.chat_template
    return loaded


def _load_adapter(folder: Path, dtype: str | None, trainable: bool) -> Loaded:
    settings = adapter.settings_of(folder)
    base = adapter.base_of(folder, settings)
    if adapter.is_released(folder, settings):
        adapter.check_router(folder)
    loaded = _load(base, dtype, trainable=False, revision=settings.get("revision"))
    model = adapter.put_on(loaded.model, folder, settings, trainable)
    return Loaded(model=model.train(trainable), tokenizer=loaded.tokenizer, name=str(folder))


def _load_weights(
    where: str, dtype: str | None, trainable: bool, name: str, arguments: dict[str, Any] | None = None
) -> Loaded:
    device, inference_dtype = _inference_place()
    how = _quantised(dtype, inference_dtype) if dtype in QUANTISED else {"dtype": dtype or inference_dtype}
    model = open_weights(where, **how, **(arguments or {}))
    for module in model.modules() if dtype in QUANTISED else ():
        # On some CPUs a measurement would lay out the weights for answering, and no gradient would pass them any more.
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False
    if dtype is None:
        model = model.to(device)
    tokenizer = open_part("AutoTokenizer", where, **(arguments or {}))
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return Loaded(model=model.train(trainable), tokenizer=tokenizer, name=name)


def _quantised(dtype: str, compute_dtype: str) -> dict[str, Any]:
    """How transformers loads quantised weights: onto the device where they stay."""
    import torch

    try:
        import bitsandbytes  # noqa: F401  (transformers' own message is of many lines)
    except ImportError as error:
        raise require_extra("quantised", error) from error
    config = transformers().BitsAndBytesConfig(**QUANTISED[dtype], bnb_4bit_compute_dtype=getattr(torch, compute_dtype))
    device = int(os.environ.get("LOCAL_RANK", "0")) if torch.cuda.is_available() else "cpu"
    return {"quantization_config": config, "device_map": {"": device}, "dtype": compute_dtype}


def identity(loaded: Loaded) -> str:
    """What tells a model from another one under the same name: the sizes and times of its files, or its hub commit.

    Of an adapter, and of a run's base that points to another folder, the same of the model below belongs to it.
    """
    return _identity_of(loaded.name, None)


def _identity_of(where: str, revision: str | None) -> str:
    folder = Path(where).expanduser()
    if not folder.is_dir():
        return f"{where}@{commit_of(where, revision)}"
    files = sorted(path for path in folder.iterdir() if path.is_file())
    found = digest([[path.name, path.stat().st_size, path.stat().st_mtime_ns] for path in files])
    below = _below(folder)
    return digest([found, _identity_of(*below)]) if below else found


def _below(folder: Path) -> tuple[str, str | None] | None:
    """What a folder without a whole model stands on or points to, with its revision; None for a whole model."""
    if (folder / BASE_REFERENCE).is_file():
        reference = _read_reference(folder)
        return reference["base"], reference["revision"]
    if (folder / adapter.CONFIG).is_file():
        settings = adapter.settings_of(folder)
        return adapter.base_of(folder, settings), settings.get("revision")
    return None


def _inference_place() -> tuple[str, str]:
    """Device and precision for inference: bfloat16 on a GPU that has it, float32 elsewhere."""
    import torch

    if not torch.cuda.is_available():
        return "cpu", "float32"
    return "cuda", "bfloat16" if torch.cuda.is_bf16_supported() else "float32"


def _hub_name(where: str | Path) -> str:
    name = str(where)
    if not is_hub_id(name):
        raise UserError("no such model folder (a hub id has the form owner/name)", name)
    return name


def _check_folder(folder: Path) -> None:
    if (folder / BASE_REFERENCE).is_file() or (folder / adapter.CONFIG).is_file():
        return
    if not (folder / "config.json").is_file():
        raise UserError("no config.json in this folder: it is not a model", folder)
    if not any(next(folder.glob(pattern), None) for pattern in _WEIGHTS):
        raise UserError("no weights in this folder (*.safetensors or pytorch_model*.bin)", folder)
    if not any(next(folder.glob(pattern), None) for pattern in _TOKENIZERS):
        raise UserError("no tokenizer in this folder (tokenizer.json or the like); copy it from its origin", folder)
