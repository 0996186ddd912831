"""Which code a result was made with: a hash that rewording does not change.

A step is done again when its code changed, which is that of its modules, of all of ours that they import, and of the
data files beside them.
"""

from __future__ import annotations

import ast
import contextlib
import hashlib
import json
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from pediatricsgpt.manifest import digest, hash_file, write_atomically

_PACKAGE = "pediatricsgpt"
_ROOT = Path(__file__).parent
_SPEAKERS = {"errors", "curves", "training.curves", "training.meter", "training.metrics", "training.progress"} | {
    "training.preference.progress"
}


def code_version(modules: Sequence[str]) -> str:
    """Hash of the code of the named modules and of all of ours that they import, with the data files beside them.

    Comments, docstrings and layout do not count: rewording does not redo work. Neither do modules that only speak to
    people (`_SPEAKERS`).

    Raises:
        ImportError: there is no such module.
    """
    found = digest([[name, _code_of(name).version] for name in sorted(_closure(modules))])[:16]
    _syntax().save()
    return found


@dataclass(frozen=True, slots=True)
class _Code:
    version: str
    uses: frozenset[str]


def _closure(modules: Sequence[str]) -> set[str]:
    found: set[str] = set()
    waiting = list(modules)
    while waiting:
        name = waiting.pop()
        if name not in found and name.removeprefix(_PACKAGE + ".") not in _SPEAKERS:
            found.add(name)
            waiting += _code_of(name).uses
    return found


@cache
def _code_of(module: str) -> _Code:
    source = _source_of(module)
    if source is None:
        raise ImportError(f"no source of module {module}")
    tree, names = _syntax()(source.read_bytes())
    uses = frozenset(filter(None, map(_module_named, names)))
    return _Code(digest([tree, _data_version(source.parent)]), uses - {module})


class _Syntax:
    """What the syntax tree of a source says, remembered by its bytes: parsing all of ours takes most of a second.

    A convenience that many processes share: where the store is damaged or cannot be written, sources are parsed again.
    Two that save at the same moment may lose what one of them learnt, never what the store held before.
    """

    def __init__(self, store: Path | None) -> None:
        self._store = store
        self._learnt: dict[str, tuple[str, list[str]]] = {}
        self._known = self._stored()

    def __call__(self, source: bytes) -> tuple[str, list[str]]:
        """Hash of the tree without comments, docstrings and layout; what it imports or names."""
        key = hashlib.sha256(source).hexdigest()
        if key not in self._known:
            self._known[key] = self._learnt[key] = _parsed(source)
        return self._known[key]

    def save(self) -> None:
        """Keep what was learnt for the next command, beside what others have learnt in the meantime."""
        if self._store is not None and self._learnt:
            with contextlib.suppress(OSError):
                self._store.parent.mkdir(parents=True, exist_ok=True)
                write_atomically(self._store, json.dumps(self._stored() | self._learnt))
            self._learnt = {}

    def _stored(self) -> dict[str, tuple[str, list[str]]]:
        try:
            found = json.loads(self._store.read_bytes()) if self._store else {}
            return {str(key): (str(tree), list(map(str, names))) for key, (tree, names) in found.items()}
        except (OSError, ValueError, TypeError, AttributeError):  # not there, damaged, or of another form
            return {}


def _parsed(source: bytes) -> tuple[str, list[str]]:
    tree = ast.parse(source)
    names = sorted(set(_names(tree)))
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            node.body = [statement for statement in node.body if not _is_docstring(statement)]
    return digest(ast.dump(tree)), names


@cache
def _syntax() -> _Syntax:
    """The store of this version of Python and of this file, which decide what a tree says."""
    version = digest([list(sys.version_info[:2]), hash_file(Path(__file__))])[:16]
    try:
        caches = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    except RuntimeError:  # a user without a home, as in many containers
        return _Syntax(None)
    return _Syntax(caches / "pediatricsgpt" / f"syntax-{version}.json")


@cache
def _data_version(package: Path) -> str:
    """The data of a package: every file that is no code, also in folders below that are no packages themselves."""

    def files(folder: Path) -> Iterator[Path]:
        for entry in folder.iterdir():
            if entry.is_file() and not entry.suffix.startswith(".py"):
                yield entry
            elif entry.is_dir() and entry.name != "__pycache__" and not (entry / "__init__.py").is_file():
                yield from files(entry)

    return digest([[file.relative_to(package).as_posix(), hash_file(file)] for file in sorted(files(package))])


def _names(tree: ast.AST) -> Iterator[str]:
    """What a module imports of ours, and the packages whose data files it opens by name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and " " not in node.value:
            yield node.value


def _module_named(name: str) -> str | None:
    """The module of ours that a dotted name means, if it means one."""
    return name if name.startswith(_PACKAGE + ".") and _source_of(name) else None


def _source_of(module: str) -> Path | None:
    """The file of a module of ours, found without importing its package (which may import torch)."""
    place = _ROOT.joinpath(*module.split(".")[1:])
    candidates = (place / "__init__.py", place.with_name(place.name + ".py"))
    return next((path for path in candidates if path.is_file()), None)


def _is_docstring(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
