"""`--no-skips`: what `make check` runs really ran, or cannot run on this machine whoever wrote it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

TESTS = """
import pytest

def test_passes(repository):
    assert repository.is_dir()

def test_needs_shared(shared):
    assert shared.is_dir()

@pytest.mark.skipif(True, reason="no chromium here")
def test_hidden():
    raise AssertionError

def test_hidden_too():
    pytest.importorskip("a_module_that_nobody_has")

@pytest.mark.xfail(reason="known")
def test_expected_failure():
    raise AssertionError
"""


MODULE = """
import pytest

pytest.skip("not today", allow_module_level=True)
"""


def run(repository: Path, folder: Path, *options: str) -> tuple[int, str]:
    """The exit code and output of pytest over these tests in a checkout of their own, with our conftest."""
    tests = folder / "checkout" / "tests"
    tests.mkdir(parents=True)
    conftest = (repository / "tests/conftest.py").read_text(encoding="utf-8")
    own = [line for line in conftest.splitlines() if not line.startswith("from tests.")]  # no fixtures of other tests
    (tests / "conftest.py").write_text("\n".join(own), encoding="utf-8")
    (tests / "test_some.py").write_text(TESTS, encoding="utf-8")
    (tests / "test_module.py").write_text(MODULE, encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-ra", "tests", *options]
    answer = subprocess.run(command, cwd=tests.parent, capture_output=True, text=True, check=False)
    return answer.returncode, answer.stdout


def test_without_the_option_skips_are_only_told(repository: Path, tmp_path: Path) -> None:
    code, said = run(repository, tmp_path)
    assert code == 0
    assert "1 passed, 4 skipped, 1 xfailed" in said
    assert "needs ../shared, which is absent" in said


def test_an_unexpected_skip_fails_with_its_reason(repository: Path, tmp_path: Path) -> None:
    code, said = run(repository, tmp_path, "--no-skips", "--continue-on-collection-errors")
    assert code == 1
    assert "1 failed, 1 passed, 1 skipped, 1 xfailed, 2 errors" in said
    for reason in ("no chromium here", "could not import 'a_module_that_nobody_has'", "not today"):
        assert f"skipped, which --no-skips forbids: {reason}" in said


def test_what_needs_shared_runs_where_it_lies_beside_the_checkout(repository: Path, tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir()
    _, said = run(repository, tmp_path, "-k", "shared or passes")
    assert "2 passed" in said
