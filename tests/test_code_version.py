"""Which changes of the code redo work, and the store of syntax that all processes share."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pediatricsgpt import code_version
from pediatricsgpt.code_version import _Syntax


def _forget() -> None:
    for remembered in (code_version._code_of, code_version._data_version, code_version._syntax):
        remembered.cache_clear()


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package in the place of ours: `a`, which imports `b`."""
    folder = tmp_path / "pediatricsgpt"
    folder.mkdir()
    (folder / "a.py").write_text("from pediatricsgpt.b import f\n")
    (folder / "b.py").write_text("def f():\n    return 1\n")
    monkeypatch.setattr(code_version, "_ROOT", folder)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    yield folder
    _forget()


def _version() -> str:
    _forget()
    return code_version.code_version(["pediatricsgpt.a"])


def test_code_version_follows_imports_and_ignores_comments(package: Path) -> None:
    first = _version()
    (package / "b.py").write_text('# why\ndef f():\n    """Doc."""\n    return 1\n')
    assert _version() == first
    (package / "b.py").write_text("def f():\n    return 2\n")
    assert _version() != first


def test_code_version_sees_data_beside_the_code_but_not_that_of_other_packages(package: Path) -> None:
    seen = {_version()}
    (package / "prompts").mkdir()
    (package / "__pycache__").mkdir()
    for data in ("rules.yaml", "prompts/ask.md", "weights.npz", "prompts/words.txt"):
        (package / data).write_text("a: 1")
        assert _version() not in seen
        seen.add(_version())
    last = _version()
    (package / "__pycache__" / "a.nbi").write_text("compiled")
    (package / "room").mkdir()
    (package / "room" / "__init__.py").write_text("")
    (package / "room" / "other.yaml").write_text("b: 1")
    assert _version() == last


def test_code_version_does_not_see_modules_that_only_speak_to_people(package: Path) -> None:
    (package / "a.py").write_text("from pediatricsgpt.errors import UserError\n")
    (package / "errors.py").write_text("x = 1\n")
    first = _version()
    (package / "errors.py").write_text("x = 2\n")
    assert _version() == first


def test_every_module_that_only_speaks_to_people_is_there() -> None:
    assert all(code_version._source_of(f"pediatricsgpt.{name}") for name in code_version._SPEAKERS)


@pytest.mark.usefixtures("package")
def test_a_user_without_a_home_or_a_folder_to_write_gets_the_same_version(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    first = _version()
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file/caches"))
    assert _version() == first

    def homeless(path: Path) -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "expanduser", homeless)
    assert _version() == first


def test_what_a_source_says_is_remembered_by_its_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = b'"""Doc."""\nimport pediatricsgpt.text\nx = 1  # why\n'
    store = tmp_path / "cache/syntax.json"
    first = _Syntax(store)
    found = first(source)
    assert "pediatricsgpt.text" in found[1]
    first.save()
    again = _Syntax(store)
    with monkeypatch.context() as patch:
        patch.setattr(code_version, "_parsed", None)
        assert again(source) == found
    assert again(source.replace(b"why", b"because"))[0] == found[0]
    assert again(source.replace(b"1", b"2"))[0] != found[0]


@pytest.mark.parametrize(
    "damaged", [b"[damaged", b"[]", b"7", b"\xff", b"", b'{"key": 5}', b'{"key": ["a"]}', b"\0" * 99]
)
def test_a_damaged_store_is_ignored_and_made_anew(tmp_path: Path, damaged: bytes) -> None:
    store = tmp_path / "syntax.json"
    store.write_bytes(damaged)
    syntax = _Syntax(store)
    assert syntax(b"x = 1") == _Syntax(None)(b"x = 1")
    syntax.save()
    assert len(json.loads(store.read_text())) == 1


def test_what_others_learnt_in_the_meantime_is_kept(tmp_path: Path) -> None:
    store = tmp_path / "syntax.json"
    one, other = _Syntax(store), _Syntax(store)
    for syntax, source in ((one, b"x = 1"), (other, b"x = 2")):
        syntax(source)
        syntax.save()
    assert len(json.loads(store.read_text())) == 2


_LEARN = """
import sys, pathlib
from pediatricsgpt.code_version import _Syntax
store, own = pathlib.Path(sys.argv[1]), sys.argv[2]
for number in range(20):
    syntax = _Syntax(store)
    syntax(f"from {own} import {own}{number}".encode())
    syntax.save()
"""


def test_many_processes_share_one_store(tmp_path: Path) -> None:
    store = tmp_path / "cache/syntax.json"
    before = _Syntax(store)
    kept = {before(b"y = %d" % number)[0] for number in range(500)}
    before.save()
    learners = [subprocess.Popen([sys.executable, "-c", _LEARN, str(store), name]) for name in "abcd"]
    while any(learner.poll() is None for learner in learners):
        read = json.loads(store.read_bytes())  # whole at any time
        assert kept <= {tree for tree, _ in read.values()}
    assert [learner.wait() for learner in learners] == [0] * 4
    assert list(store.parent.iterdir()) == [store]
    last = _Syntax(store)
    for name in "abcd":
        source = f"from {name} import {name}19".encode()
        assert last(source) == _Syntax(None)(source)
