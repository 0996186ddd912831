"""The word lists and prompts of this package, as files that a pediatrician can read and correct."""

from __future__ import annotations

import functools
import hashlib
import re
from dataclasses import dataclass
from importlib import resources
from typing import Any

import yaml

from pediatricsgpt.evaluation.prompt_files import PromptFile

# The parser in C reads the lists in a tenth of the time; both give the same content.
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_VERSION = re.compile(r"^<!-- version: (\S+) -->\n")
_SECTION = re.compile(r"^# (\w+)\n", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Prompt(PromptFile):
    """A prompt file with its text by sections (`""` where it has none)."""

    sections: dict[str, str]


@functools.cache
def lists(name: str) -> dict[str, Any]:
    """The content of `<name>.yaml` in this package, read once."""
    content: dict[str, Any] = yaml.load(_read(f"{name}.yaml"), Loader=LOADER)
    return content


@functools.cache
def prompt(name: str) -> Prompt:
    """The prompt of `<name>.md` in this package."""
    text = _read(f"{name}.md")
    head = _VERSION.match(text)
    if head is None:
        raise ValueError(f"{name}.md does not begin with its version")
    _, *parts = _SECTION.split(text[head.end() :])
    sections = dict(zip(parts[::2], map(str.strip, parts[1::2]), strict=True)) or {"": text[head.end() :].strip()}
    return Prompt(name, head.group(1), hashlib.sha256(text.encode()).hexdigest(), sections)


@functools.cache
def either(words: tuple[str, ...]) -> re.Pattern[str]:
    """A pattern that finds the first of these regular expressions; one that finds nothing where there are none."""
    return re.compile("|".join(f"(?:{word})" for word in words) if words else r"(?!)")


@functools.cache
def pattern(*path: str) -> re.Pattern[str]:
    """A list of `speech.yaml` as one pattern: `pattern("urgent", "calls")`."""
    found: Any = lists("speech")
    for name in path:
        found = found[name]
    return either(tuple(found))


def _read(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")
