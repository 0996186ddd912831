"""Word lists of the corpus room, as data: what a doctor can read and correct without reading code."""

from __future__ import annotations

import functools
import re
from importlib import resources
from typing import Any

import yaml


@functools.cache
def rules(name: str) -> dict[str, Any]:
    """The content of `<name>.yaml` in this package, read once."""
    text = resources.files(__package__).joinpath(f"{name}.yaml").read_text(encoding="utf-8")
    content: dict[str, Any] = yaml.safe_load(text)
    return content


@functools.cache
def pattern(name: str, key: str) -> re.Pattern[str]:
    """The regular expressions under one key of a file as one pattern that matches where any of them does."""
    return re.compile("|".join(f"(?:{expression})" for expression in rules(name)[key]))
