"""What a user gets from pip: the command, its version, every data file, and pins that fit what is asked for."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import pediatricsgpt

# A core installation: the extras' packages are hidden, as if they were not there.
WITHOUT_EXTRAS = """
import sys

HIDDEN = {"torch", "transformers", "trl", "peft", "accelerate", "datasets", "matplotlib", "pypdfium2", "markitdown"}


class Without:
    def __init__(self, finder):
        self.finder = finder

    def __getattr__(self, name):
        return getattr(self.finder, name)

    def find_spec(self, name, path=None, target=None):
        return None if name.split(".")[0] in HIDDEN else self.finder.find_spec(name, path, target)


sys.meta_path[:] = [Without(finder) for finder in sys.meta_path]
from pediatricsgpt.cli import main

main()
"""


@pytest.fixture(scope="module")
def project(repository: Path) -> dict[str, Any]:
    """The [project] table of pyproject.toml."""
    return tomllib.loads((repository / "pyproject.toml").read_text(encoding="utf-8"))["project"]


@pytest.fixture(scope="module")
def wheel(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the checkout without a network."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    subprocess.run(build, cwd=repository, check=True, capture_output=True)
    (built,) = folder.glob("*.whl")
    return built


def pedgpt(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The installed command's answer."""
    script = Path(sys.executable).with_name("pedgpt")
    return subprocess.run([script, *arguments], capture_output=True, text=True, check=False)


def test_the_command_says_the_version_of_the_package(project: dict[str, Any]) -> None:
    answer = pedgpt("--version")
    assert (answer.returncode, answer.stdout) == (0, f"pedgpt {pediatricsgpt.__version__}\n")
    assert pediatricsgpt.__version__ == project["version"]


def test_the_wheel_holds_every_file_of_the_package(wheel: Path, repository: Path) -> None:
    source = repository / "src"
    files = {
        file.relative_to(source).as_posix()
        for file in (source / "pediatricsgpt").rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if ".dist-info/" not in name}
        (metadata,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        licences = [name for name in archive.namelist() if name.endswith("/licenses/LICENSE")]
        described = archive.read(metadata).decode()
    assert packed == files
    assert {Path(name).suffix for name in packed} >= {".py", ".yaml", ".json", ".jinja", ".typed"}
    assert len(licences) == 1
    assert f"\nVersion: {pediatricsgpt.__version__}\n" in described


@pytest.mark.check
def test_the_wheel_works_on_its_own(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    code = (
        "import pediatricsgpt, pediatricsgpt.cli; assert 'site' in pediatricsgpt.__file__, pediatricsgpt.__file__;"
        "pediatricsgpt.cli.main()"
    )
    told = subprocess.run(
        [sys.executable, "-c", code, "recipe", "show"],
        env={**os.environ, "PYTHONPATH": str(tmp_path / "site")},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (told.returncode, told.stderr) == (0, "")
    assert "corpus" in told.stdout


@pytest.mark.parametrize("arguments", [["--help"], ["recipe", "show"], ["env"]])
def test_the_core_answers_without_any_extra(arguments: list[str], repository: Path) -> None:
    answer = subprocess.run(
        [sys.executable, "-c", WITHOUT_EXTRAS, *arguments], cwd=repository, capture_output=True, text=True, check=False
    )
    assert (answer.returncode, answer.stderr) == (0, "")
    assert answer.stdout


def test_the_core_scores_a_file_without_any_extra(tmp_path: Path) -> None:
    file = tmp_path / "predictions.jsonl"
    file.write_text('{"prediction": "多喝水，注意休息。", "reference": "多喝温水，注意休息。"}\n' * 3, encoding="utf-8")
    answer = subprocess.run(
        [sys.executable, "-c", WITHOUT_EXTRAS, "score", str(file)], capture_output=True, text=True, check=False
    )
    assert answer.returncode == 0, answer.stderr
    assert "bleu-4" in answer.stdout


def test_every_requirement_is_pinned_to_a_version_that_it_allows(project: dict[str, Any], repository: Path) -> None:
    lines = (repository / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = dict(line.split("==") for line in lines if not line.startswith("#"))
    assert not [pin for pin in pins.values() if "+" in pin], "a pin names a version, never a build"
    extras = project["optional-dependencies"].values()
    for text in [*project["dependencies"], *(text for extra in extras for text in extra)]:
        requirement = Requirement(text)
        if requirement.name != project["name"]:
            pin = pins[canonicalize_name(requirement.name)]
            assert requirement.specifier.contains(pin), f"{text} does not allow {pin}"
