from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pediatricsgpt
from pediatricsgpt.evaluation.compiled import compiled

PACKAGE = Path(pediatricsgpt.__file__).parent


def test_a_kernel_that_cannot_be_kept_is_compiled_all_the_same():
    """Numba finds no folder for code that lies in no file."""
    namespace = {"compiled": compiled}
    exec("@compiled('int64(int64)')\ndef twice(x):\n    return 2 * x\n", namespace)
    assert namespace["twice"](21) == 42


SCRIPT = """
from pediatricsgpt.evaluation.cut import cut
print("|".join(cut("小儿支气管肺炎发热38.5度")))
"""


def copy_of_the_package(folder: Path) -> dict[str, str]:
    """The package somewhere else; gives the environment that imports it from there."""
    shutil.copytree(PACKAGE, folder / "pediatricsgpt", ignore=shutil.ignore_patterns("__pycache__"))
    return {**os.environ, "PYTHONPATH": str(folder), "HOME": str(folder / "nobody")}


def cut_elsewhere(environment: dict[str, str]) -> str:
    done = subprocess.run([sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_where_no_cache_can_be_written_words_are_cut_all_the_same(tmp_path):
    environment = copy_of_the_package(tmp_path)
    # A file where a folder must be: nobody can write below it, root neither.
    (tmp_path / "nobody").write_text("")
    (tmp_path / "pediatricsgpt/evaluation/__pycache__").write_text("")
    environment.update(PYTHONDONTWRITEBYTECODE="1", XDG_CACHE_HOME=str(tmp_path / "nobody"))
    assert cut_elsewhere(environment) == "小儿|支气管|肺炎|发热|38.5|度"
    assert not list(tmp_path.rglob("*.nbi"))


def test_a_damaged_cache_is_no_obstacle(tmp_path):
    environment = copy_of_the_package(tmp_path)
    environment.pop("HOME")
    expected = cut_elsewhere(environment)
    kept = [*tmp_path.rglob("*.nbc"), *tmp_path.rglob("*.nbi")]
    assert kept
    for path in kept:
        path.write_bytes(path.read_bytes()[:40])
    assert cut_elsewhere(environment) == expected
