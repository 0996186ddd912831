"""What is known of each public benchmark without having its files."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path

import yaml

from pediatricsgpt.errors import UserError


@dataclass(frozen=True, slots=True)
class Entry:
    """One benchmark of the catalogue."""

    title: str
    home: str
    licence: str
    citation: str
    files: str
    """Which files of it are read"""
    version: str


@functools.cache
def catalogue() -> dict[str, Entry]:
    """Every benchmark that can be read, by its name in a recipe."""
    text = Path(__file__).with_suffix(".yaml").read_text(encoding="utf-8")
    return {name: Entry(**values) for name, values in yaml.safe_load(text).items()}


def lacking(name: str) -> UserError:
    """What to tell somebody who named a benchmark and not its files."""
    entry = catalogue()[name]
    return UserError(
        f"the path of benchmark {name} is missing, and nothing is downloaded: get {entry.files} from {entry.home} "
        f"(licence: {entry.licence}) and set its path"
    )
