"""Under which licence a base model stands, as far as its own files say it. Nothing is guessed."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

UNKNOWN = "unknown"
_FRONT_MATTER = re.compile(r"\A---\r?\n(.*?)\r?\n---\s*(?:\n|\Z)", re.DOTALL)
_LEGAL = re.compile(r"(licen[cs]e|notice|.*licen[cs]e.*\.pdf|use_policy)([._-].*)?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Licence:
    """A licence and the file that states it. `identifier` is one of the Hugging Face hub, or `unknown`."""

    identifier: str = UNKNOWN
    name: str | None = None
    link: str | None = None
    found_in: str | None = None

    @property
    def known(self) -> bool:
        """Whether any file of the model states it."""
        return self.identifier != UNKNOWN

    @property
    def text(self) -> str:
        """How a reader is told."""
        if not self.known:
            return "unknown: check before you publish"
        return f"{self.identifier} ({self.name})" if self.name else self.identifier


def licence_of(folder: Path) -> Licence:
    """The licence that a model folder states: in its card, its configuration, or by a licence file.

    A licence file alone is named by its first line and not interpreted.
    """
    card = front_matter(folder / "README.md")
    for found_in, values in (("README.md", card), ("config.json", _json(folder / "config.json"))):
        identifier = _one(values.get("license"))
        if identifier and identifier.lower() != UNKNOWN:
            return Licence(identifier, _one(values.get("license_name")), _one(values.get("license_link")), found_in)
    for path in legal_files(folder):
        if path.name.lower().startswith("licen") and path.suffix.lower() != ".pdf":
            lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
            first = next((line.strip(" #*\t") for line in lines if line.strip(" #*\t")), path.name)
            return Licence("other", first[:100], path.name, path.name)
    return Licence()


def legal_files(folder: Path) -> list[Path]:
    """Licence, notice and use-policy files of a model: who passes it on passes them on."""
    return sorted(path for path in folder.iterdir() if path.is_file() and _LEGAL.fullmatch(path.name))


def front_matter(card: Path) -> dict[str, Any]:
    """The YAML mapping at the head of a model card; empty where there is none or it is no YAML."""
    import yaml

    if not card.is_file():
        return {}
    match = _FRONT_MATTER.match(card.read_text(encoding="utf-8", errors="replace"))
    try:
        values = yaml.safe_load(match[1]) if match else None
    except yaml.YAMLError:
        return {}  # a card that nobody can read states no licence
    return values if isinstance(values, dict) else {}


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _one(value: Any) -> str | None:
    """The hub allows one licence or a list of them."""
    if isinstance(value, list):
        return ", ".join(map(str, value)) or None
    return str(value).strip() or None if value is not None else None
