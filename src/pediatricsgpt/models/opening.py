"""Opening models with the libraries' own functions. What these raise over a file becomes one line here.

They also open what is not whole: a model without half of its weights gets random ones, with no more than a log message.
That is refused.
"""

from __future__ import annotations

import json
import pickle
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pediatricsgpt.errors import UserError, require_extra

_CANNOT = "cannot load this model"
_LONGEST = 200  # characters of what a library says
_SHOWN = 3


@contextmanager
def told(what: str, where: str | Path) -> Iterator[None]:
    """Turn what a library raises over somebody's files into one line.

    Every exception is caught, for files are damaged in every way: a `config.json` that holds a list ends in an
    AttributeError, a tokenizer of a newer version in a bare Exception. So only the library's call belongs inside.

    Args:
        what: the beginning of the line.
        where: the folder or hub id.

    Raises:
        UserError: in place of anything else.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"{what}: {_reason(error)}", where) from error


def _reason(error: Exception) -> str:
    if isinstance(error, pickle.UnpicklingError):  # its own text advises to run the code in the file
        return "its weights file is damaged, or holds more than weights; fetch it again"
    text = " ".join(str(error).split()) or "no reason given"
    named = text if isinstance(error, OSError | RuntimeError | UserWarning) else f"{text} ({type(error).__name__})"
    return named if len(named) <= _LONGEST else f"{named[:_LONGEST]}…"


def read_object(path: Path, again: str = "fetch or make it again") -> dict[str, Any]:
    """A JSON file that holds an object.

    Raises:
        UserError: it is damaged or holds something else; `again` says how to get a good one.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(found, dict):
            raise ValueError("no JSON object")
    except ValueError as error:
        raise UserError(f"damaged ({error}); {again}", path) from error
    return found


def is_hub_id(name: str) -> bool:
    """Whether a name has the form of a hub id, owner/name, and not that of a path."""
    return not name.startswith((".", "/", "~")) and name.count("/") == 1 and not Path(name).parent.is_dir()


def transformers() -> Any:
    """The library, with what it says to other authors switched off.

    Raises:
        UserError: it is not installed.
    """
    try:
        import transformers
    except ImportError as error:
        raise require_extra("train", error) from error
    transformers.logging.disable_progress_bar()
    # They speak to the authors of libraries above us, and would stand between our own lines.
    warnings.filterwarnings("ignore", category=FutureWarning, module="transformers|peft|trl|accelerate")
    return transformers


def open_part(kind: str, where: str, **arguments: Any) -> Any:
    """A configuration or tokenizer.

    Args:
        kind: the `Auto` class of transformers, such as `AutoTokenizer`.
        where: folder or hub id.
        arguments: of its `from_pretrained`.

    Raises:
        UserError: it is not there, damaged, or the hub cannot be reached.
    """
    library = transformers()
    from pediatricsgpt.models import baichuan

    baichuan.register(weights=False)
    with told(_CANNOT, where):
        return getattr(library, kind).from_pretrained(where, **arguments)


def commit_of(where: str, revision: str | None = None) -> str | None:
    """The commit that a hub's branch or tag stands at.

    Args:
        where: hub id.
        revision: commit, branch or tag; None is the main branch.

    Returns:
        None where neither the hub nor its cache on this machine knows.
    """
    transformers()
    from transformers.utils.hub import cached_file, extract_commit_hash

    # Configurations used to carry it; they no longer do.
    config = cached_file(
        where,
        "config.json",
        revision=revision,
        _raise_exceptions_for_gated_repo=False,
        _raise_exceptions_for_missing_entries=False,
        _raise_exceptions_for_connection_errors=False,
    )
    commit: str | None = extract_commit_hash(config, None)
    return commit


def open_weights(where: str, **arguments: Any) -> Any:
    """A causal language model, every weight of which comes from its files.

    Args:
        where: folder or hub id.
        arguments: of transformers' `from_pretrained`.

    Raises:
        UserError: as `open_part`; or weights are missing or of another shape than its configuration says; or the hub
            id is an adapter's.
    """
    library = transformers()
    from pediatricsgpt.models import baichuan

    baichuan.register()
    with told(_CANNOT, where):
        _refuse_hub_adapter(where, arguments.get("revision"))
        # Other shapes are let through here, for the report on them is better than the exception.
        model, found = library.AutoModelForCausalLM.from_pretrained(
            where, output_loading_info=True, ignore_mismatched_sizes=True, **arguments
        )
    _refuse_unfit(found, where)
    return model


def _refuse_hub_adapter(where: str, revision: str | None) -> None:
    """transformers would put a hub's adapter on its base, and say nothing where the adapter's weights fit nowhere."""
    from transformers.utils.peft_utils import find_adapter_config_file

    if not Path(where).is_dir() and find_adapter_config_file(where, revision=revision) is not None:
        raise UserError("this hub id is an adapter; download it (hf download) and name its folder", where)


def _refuse_unfit(found: Mapping[str, Any], where: str) -> None:
    shapes = sorted(
        f"{name} {list(stored)} for {list(wanted)}" for name, stored, wanted in found.get("mismatched_keys") or ()
    )
    if shapes:
        raise UserError(
            f"{_CANNOT}: its weights have other shapes than its config.json says ({_some(shapes)}); fetch it again",
            where,
        )
    missing = sorted(found.get("missing_keys") or ())
    if missing:
        raise UserError(
            f"{_CANNOT}: {len(missing)} of its weights are not in its files ({_some(missing)}), and would be random; "
            "fetch it again, or correct the names in its files",
            where,
        )


def _some(names: list[str]) -> str:
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
