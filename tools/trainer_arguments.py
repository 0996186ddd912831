"""Write src/pediatricsgpt/training/trainer_arguments.json from the installed TRL; a test compares the two."""

from __future__ import annotations

import dataclasses
import enum
import json
import types
import typing
from pathlib import Path
from typing import Any

from trl import DPOConfig, SFTConfig

TARGET = Path(__file__).parents[1] / "src/pediatricsgpt/training/trainer_arguments.json"
_NAMES = {int: "int", float: "float", bool: "bool", str: "str", dict: "dict", list: "list", type(None): "none"}


def accepted(annotation: Any) -> list[str]:
    """The words for the YAML types that an annotated argument takes; `=x` for a value of a closed list."""
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        words = {word for part in typing.get_args(annotation) for word in accepted(part)}
        return sorted(words - {"str"} if any(word.startswith("=") for word in words) else words)
    if isinstance(annotation, type) and issubclass(annotation, enum.Enum):
        return sorted(f"={member.value}" for member in annotation)
    origin = typing.get_origin(annotation) or annotation
    if origin in _NAMES:
        return [_NAMES[origin]]
    return ["str"] if isinstance(origin, type) and issubclass(origin, str) else ["any"]


def arguments(config: type) -> dict[str, list[str]]:
    """Every argument of a TRL configuration with the types that it accepts."""
    hints = typing.get_type_hints(config)
    return {field.name: accepted(hints[field.name]) for field in dataclasses.fields(config) if field.init}


def text() -> str:
    """The file's content."""
    table = {"sft": arguments(SFTConfig), "dpo": arguments(DPOConfig)}
    return json.dumps(table, indent=1, sort_keys=True) + "\n"


if __name__ == "__main__":
    TARGET.write_text(text(), encoding="utf-8")
