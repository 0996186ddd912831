"""Write constraints.txt: the installed version of every package that `.[dev]` brings.

Run it with the environment that passed the tests: `.venv/bin/python tools/constraints.py`. What else is installed there
is left out, and so are build labels (+cpu) and CUDA's libraries: which build of torch comes is the index's choice.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
HEADER = """\
# The versions that passed the tests together: `pip install -c constraints.txt -e '.[dev]'` installs them.
# They pin versions, never builds: see tools/install_torch.py.
# Written by tools/constraints.py; how to bump them is in CONTRIBUTING.md.
"""
_CUDA = ("nvidia-", "cuda-", "triton")


def requirements(project: dict[str, Any], extras: list[str]) -> Iterator[Requirement]:
    """The requirements that pyproject.toml names for these extras, its own extras resolved."""
    for text in project["dependencies"] + [
        text for extra in extras for text in project["optional-dependencies"][extra]
    ]:
        requirement = Requirement(text)
        if requirement.name == project["name"]:
            yield from requirements({**project, "dependencies": []}, sorted(requirement.extras))
        else:
            yield requirement


def closure(wanted: list[Requirement]) -> dict[str, metadata.Distribution]:
    """Every installed package that these requirements bring, by its canonical name."""
    found: dict[str, metadata.Distribution] = {}
    seen: set[tuple[str, str]] = set()
    while wanted:
        requirement = wanted.pop()
        name = canonicalize_name(requirement.name)
        if name.startswith(_CUDA):
            continue
        found[name] = metadata.distribution(name)
        for extra in {"", *requirement.extras}:
            if (name, extra) not in seen:
                seen.add((name, extra))
                needed = [Requirement(text) for text in found[name].requires or []]
                wanted += [item for item in needed if item.marker is None or item.marker.evaluate({"extra": extra})]
    return found


def text() -> str:
    """The file's content."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    brought = closure(list(requirements(project, ["dev"])))
    return HEADER + "".join(f"{name}=={brought[name].version.split('+')[0]}\n" for name in sorted(brought))


if __name__ == "__main__":
    (ROOT / "constraints.txt").write_text(text(), encoding="utf-8")
