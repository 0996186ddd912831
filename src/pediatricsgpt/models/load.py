"""Making a small base, and loading any model: a run's phase folder, a local folder or a hub id."""

from __future__ import annotations

import json
import warnings
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from pediatricsgpt.errors import UserError, require_extra
from pediatricsgpt.manifest import digest, hash_folder
from pediatricsgpt.models.encode import encode_dialogue
from pediatricsgpt.models.settings import InitSettings, ModelSettings
from pediatricsgpt.records import Message

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
    model = _new_model(settings.init, tokenizer, seed)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return {"parameters": sum(weight.numel() for weight in model.parameters()), "vocabulary": len(tokenizer)}


def _refer(settings: ModelSettings, folder: Path, recipe_folder: Path) -> dict[str, Any]:
    """Write where the base lies, and apart from that what it is: only the latter makes later work outdated."""
    base = local_or_hub(str(settings.base), recipe_folder)
    template = _template_text(settings, recipe_folder)
    local = Path(base).is_dir()
    revision = None if local else settings.revision or _hub_commit(base, settings)
    reference = {
        "base": base,
        "revision": revision,
        "trust_remote_code": settings.trust_remote_code,
        "chat_template": template,
    }
    content = hash_folder(Path(base)) if local else f"{base}@{revision}"
    encode_dialogue(tokenizer_of(settings, recipe_folder), _EXCHANGE)  # a template that cannot serve is told now
    identity = {"content": content, "chat_template": template}
    for name, value in ((BASE_REFERENCE, reference), (_IDENTITY, identity)):
        (folder / name).write_text(json.dumps(value, ensure_ascii=False, indent=1), encoding="utf-8")
    return {}


def _hub_commit(base: str, settings: ModelSettings) -> str | None:
    """The commit that the hub's main branch stands at now, so that all phases load the same weights."""
    config = _pretrained("AutoConfig", base, trust_remote_code=settings.trust_remote_code)
    commit: str | None = getattr(config, "_commit_hash", None)
    return commit


def local_or_hub(name: str, recipe_folder: Path) -> str:
    """A path relative to the recipe as an absolute one; anything that is no folder stays a hub id.

    Raises:
        UserError: it looks like a path, and there is no such folder.
    """
    path = (recipe_folder / name).expanduser()
    if path.is_dir():
        if (path / BASE_REFERENCE).is_file():  # the base of another run, which only points to one
            return str(json.loads((path / BASE_REFERENCE).read_text(encoding="utf-8"))["base"])
        if (path / "adapter_config.json").is_file():
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
    transformers = _transformers()
    folder = recipe_folder / (settings.tokenizer or Path())
    if not (folder / "tokenizer.json").is_file():
        raise UserError("no tokenizer.json in this folder", folder)
    tokenizer = transformers.PreTrainedTokenizerFast(
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
    return _transformers().Qwen3Config(
        **shape,
        vocab_size=len(tokenizer),
        tie_word_embeddings=True,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=None,
    )


def _new_model(settings: InitSettings, tokenizer: Any, seed: int) -> Any:
    transformers = _transformers()
    transformers.set_seed(seed)
    model = transformers.Qwen3ForCausalLM(_new_config(settings, tokenizer))
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    return model


def tokenizer_of(settings: ModelSettings, recipe_folder: Path) -> Any:
    """The tokenizer that a recipe's models have, without making or loading a model."""
    if settings.init is not None:
        return _tokenizer_for_init(settings, recipe_folder)
    arguments = {"revision": settings.revision or "main", "trust_remote_code": settings.trust_remote_code}
    tokenizer = _pretrained("AutoTokenizer", local_or_hub(str(settings.base), recipe_folder), **arguments)
    tokenizer.chat_template = _template_text(settings, recipe_folder) or tokenizer.chat_template
    return tokenizer


def config_of(settings: ModelSettings, recipe_folder: Path) -> Any:
    """The configuration that a recipe's models have, without making or loading one.

    Raises:
        UserError: there is no such base, or its configuration cannot be read.
    """
    if settings.init is not None:
        return _new_config(settings.init, _tokenizer_for_init(settings, recipe_folder))
    arguments = {"revision": settings.revision or "main", "trust_remote_code": settings.trust_remote_code}
    return _pretrained("AutoConfig", local_or_hub(str(settings.base), recipe_folder), **arguments)


def untrained(config: Any, trust_remote_code: bool = False) -> Any:
    """A causal LM of this configuration in float32, its weights initialised; cheap under PyTorch's fake tensors."""
    import torch

    from pediatricsgpt.models import baichuan

    baichuan.register(weights=True)
    arguments = {"trust_remote_code": True} if trust_remote_code else {}
    return _transformers().AutoModelForCausalLM.from_config(config, dtype=torch.float32, **arguments)


def load(where: str | Path, *, dtype: str | None = None, trainable: bool = False) -> Loaded:
    """Load a model: a phase folder of a run, a local folder (also of a PEFT adapter) or a hub id.

    Args:
        where: folder or hub id.
        dtype: a torch name such as `float32`; None loads for inference: onto the GPU in bfloat16 where there is one,
            else in float32 on the CPU.
        trainable: keep an adapter's weights trainable and the model in training mode.

    Raises:
        UserError: no such folder, no weights in it, or the hub cannot be reached.
    """
    folder = Path(where).expanduser()
    if not folder.is_dir():
        return _load_weights(str(_hub_name(where)), dtype, trainable, name=str(where))
    if (folder / BASE_REFERENCE).is_file():
        return _load_reference(folder, dtype, trainable)
    if (folder / "adapter_config.json").is_file():
        return _load_adapter(folder, dtype, trainable)
    _check_folder(folder)
    return _load_weights(str(folder), dtype, trainable, name=str(where))


def _reference_arguments(reference: dict[str, Any]) -> dict[str, Any]:
    return {"revision": reference["revision"] or "main", "trust_remote_code": reference["trust_remote_code"]}


def _load_reference(folder: Path, dtype: str | None, trainable: bool) -> Loaded:
    reference = json.loads((folder / BASE_REFERENCE).read_text(encoding="utf-8"))
    loaded = _load_weights(
        reference["base"], dtype, trainable, name=str(folder), arguments=_reference_arguments(reference)
    )
    loaded.tokenizer.chat_template = reference["chat_template"] or loaded.tokenizer.chat_template
    return loaded


def _load_adapter(folder: Path, dtype: str | None, trainable: bool) -> Loaded:
    try:
        from peft import PeftModel

        import pediatricsgpt.experts  # noqa: F401  (registers the experts tuner with PEFT)
    except ImportError as error:
        raise require_extra("train", error) from error
    config = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
    loaded = load(_base_of_adapter(folder, config.get("base_model_name_or_path") or ""), dtype=dtype)
    model = PeftModel.from_pretrained(loaded.model, str(folder), is_trainable=trainable)
    return Loaded(model=model.train(trainable), tokenizer=loaded.tokenizer, name=str(folder))


def _base_of_adapter(folder: Path, name: str) -> str | Path:
    """Where the model below an adapter lies, also after both were moved: in runs and exports they lie side by side."""
    sibling = folder.resolve().parent / Path(name).name
    if (folder / "manifest.json").is_file() and sibling.is_dir():
        return sibling
    beside = folder.resolve() / name
    return beside.resolve() if name.startswith(".") and beside.is_dir() else name


def _load_weights(
    where: str, dtype: str | None, trainable: bool, name: str, arguments: dict[str, Any] | None = None
) -> Loaded:
    device, inference_dtype = _inference_place()
    model = _pretrained("AutoModelForCausalLM", where, dtype=dtype or inference_dtype, **(arguments or {}))
    if dtype is None:
        model = model.to(device)
    tokenizer = _pretrained("AutoTokenizer", where, **(arguments or {}))
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return Loaded(model=model.train(trainable), tokenizer=tokenizer, name=name)


def identity(loaded: Loaded) -> str:
    """What tells a model from another one under the same name: the sizes and times of its files, or its hub commit."""
    folder = Path(loaded.name)
    if not folder.is_dir():
        return f"{loaded.name}@{getattr(loaded.model.config, '_commit_hash', None)}"
    files = sorted(path for path in folder.iterdir() if path.is_file())
    return digest([[path.name, path.stat().st_size, path.stat().st_mtime_ns] for path in files])


def _inference_place() -> tuple[str, str]:
    """Device and precision for inference: bfloat16 on a GPU that has it, float32 elsewhere."""
    import torch

    if not torch.cuda.is_available():
        return "cpu", "float32"
    return "cuda", "bfloat16" if torch.cuda.is_bf16_supported() else "float32"


def _pretrained(kind: str, where: str, **arguments: Any) -> Any:
    transformers = _transformers()
    from safetensors import SafetensorError

    from pediatricsgpt.models import baichuan

    baichuan.register(weights=kind.startswith("AutoModel"))
    try:
        return getattr(transformers, kind).from_pretrained(where, **arguments)
    except (OSError, ValueError, SafetensorError) as error:
        reason = str(error).strip().split("\n")[0]
        raise UserError(f"cannot load this model: {reason}", where) from error


def _hub_name(where: str | Path) -> str:
    name = str(where)
    if name.startswith((".", "/", "~")) or name.count("/") != 1 or Path(name).parent.is_dir():
        raise UserError("no such model folder (a hub id has the form owner/name)", name)
    return name


def _check_folder(folder: Path) -> None:
    if (folder / BASE_REFERENCE).is_file() or (folder / "adapter_config.json").is_file():
        return
    if not (folder / "config.json").is_file():
        raise UserError("no config.json in this folder: it is not a model", folder)
    if not any(next(folder.glob(pattern), None) for pattern in _WEIGHTS):
        raise UserError("no weights in this folder (*.safetensors or pytorch_model*.bin)", folder)
    if not any(next(folder.glob(pattern), None) for pattern in _TOKENIZERS):
        raise UserError("no tokenizer in this folder (tokenizer.json or the like); copy it from its origin", folder)


def _transformers() -> Any:
    try:
        import transformers
    except ImportError as error:
        raise require_extra("train", error) from error
    transformers.logging.disable_progress_bar()
    # They speak to the authors of libraries above us, and would stand between our own lines.
    warnings.filterwarnings("ignore", category=FutureWarning, module="transformers|peft|trl|accelerate")
    return transformers
