"""Prompts as files with a version inside: every figure that depends on one names it, its version and its hash."""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass
from typing import Any

import yaml


@dataclass(frozen=True, slots=True)
class PromptFile:
    """Which file it is; each prompt adds its own texts."""

    name: str
    version: int | str
    sha256: str
    """Of the whole file"""

    def described(self) -> dict[str, Any]:
        """How figures name it."""
        return {"name": self.name, "version": self.version, "sha256": self.sha256}


def read_prompt(data: bytes) -> dict[str, Any]:
    """The fields of a prompt in YAML, its hash among them."""
    fields: dict[str, Any] = yaml.safe_load(data)
    return {**fields, "sha256": hashlib.sha256(data).hexdigest()}


def filled(source: str, **values: Any) -> str:
    """A Jinja text with its values filled in; one that is missing is an error."""
    rendered: str = _template(source).render(**values)
    return rendered


@functools.cache
def _template(source: str) -> Any:
    from jinja2 import Environment, StrictUndefined

    environment = Environment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, autoescape=False)
    return environment.from_string(source)
