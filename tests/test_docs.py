"""What docs/corpus.md shows: its settings are settings, its Python says what it says, its commands run."""

from __future__ import annotations

import doctest
import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from pediatricsgpt.corpus.settings import QualitySettings, SourceSettings
from pediatricsgpt.corpus.sources import ocr, recording
from pediatricsgpt.recipe import load_recipe
from pediatricsgpt.records import ROW_GROUP
from tests.test_readme import REPOSITORY, _commands, _run

CORPUS = REPOSITORY / "docs" / "corpus.md"
KINDS = set(SourceSettings.model_fields["kind"].annotation.__args__)  # type: ignore[union-attr]
SOURCE = {"name": "a", "kind": "guideline", "path": "g", "licence": "CC0", "consent": "none needed", "purpose": "tests"}


def _blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", CORPUS.read_text(encoding="utf-8"), re.DOTALL)


def _recipe(block: str) -> dict[str, Any]:
    """A block of the guide as a whole recipe: a list is of sources, anything else goes beside one source."""
    shown = yaml.safe_load(block)
    shown = {"corpus": {"sources": shown}} if isinstance(shown, list) else shown
    corpus = {"sources": [SOURCE], **shown.get("corpus", {})}
    return {"name": "x", "model": {"base": "owner/name"}, **shown, "corpus": corpus}


@pytest.mark.parametrize("block", _blocks("yaml"), ids=lambda block: block.split("\n")[0])
def test_every_block_of_settings_in_the_guide_is_good(block: str, tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(_recipe(block), allow_unicode=True), encoding="utf-8")
    assert load_recipe(path).name == "x"


def test_the_guide_shows_a_source_of_every_kind() -> None:
    sources = [source for block in map(yaml.safe_load, _blocks("yaml")) if isinstance(block, list) for source in block]
    assert {source["kind"] for source in sources} == KINDS


def test_the_links_of_the_guide_lead_somewhere() -> None:
    text = CORPUS.read_text(encoding="utf-8")
    titles = (line.lstrip("# ").lower() for line in re.findall(r"(?m)^#+ .*$", text))
    headings = {re.sub(r"[^\w\- ]", "", title).replace(" ", "-") for title in titles}
    for link in re.findall(r"\]\(([^)]+)\)", text):
        file, _, anchor = link.partition("#")
        assert (CORPUS.parent / file).exists(), link
        assert file or anchor in headings, link


def test_the_python_of_the_guide_says_what_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(REPOSITORY)
    code = "\n".join(_blocks("pycon"))
    runner = doctest.DocTestRunner()
    runner.run(doctest.DocTestParser().get_doctest(code, {}, CORPUS.name, str(CORPUS), 0))
    assert runner.tries > 30
    assert runner.failures == 0


@pytest.mark.check
def test_the_commands_of_the_guide_run_and_what_they_make_is_read(tmp_path: Path) -> None:
    for name in ("recipes", "examples"):
        (tmp_path / name).symlink_to(REPOSITORY / name)
    lines = [shlex.split(command) for command in _commands(CORPUS)]
    assert len(lines) >= 9
    for program, *arguments in lines:
        assert program == "pedgpt"
        assert _run(tmp_path, arguments)
    (program,) = _blocks("python")
    cache = os.environ | {"HF_HOME": str(tmp_path / "cache")}
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, env=cache, capture_output=True, text=True)
    assert "'role': 'user'" in done.stdout, done.stderr


def test_the_table_of_filters_has_every_one_with_its_default() -> None:
    section = re.search(r"## Quality filters\n(.*?)\n## ", CORPUS.read_text(encoding="utf-8"), re.DOTALL)
    assert section
    shown: dict[str, str] = {}
    for row in re.findall(r"(?m)^\| `.*$", section[1]):
        names, values = row.split("|")[1:3]
        shown |= zip(re.findall(r"`(\w+)`", names), values.strip().replace(",", "").split("; "), strict=True)
    defaults = QualitySettings().model_dump()
    assert {name: yaml.safe_load(value) for name, value in shown.items()} == defaults


def test_bounds_that_are_no_settings_are_those_of_the_code() -> None:
    text = " ".join(CORPUS.read_text(encoding="utf-8").split())
    assert f"mean confidence is below {ocr.MIN_CONFIDENCE} is a reject, a line below {ocr.MIN_LINE_CONFIDENCE}" in text
    assert f"Turns below a confidence of {recording.REVIEW_CONFIDENCE} are marked" in text
    assert f"or a mean below {recording.MIN_CONFIDENCE} is a reject" in text
    assert f"in parts of {ROW_GROUP:,} records" in text


def test_every_dependency_stands_in_the_table_with_its_licence_and_reason() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    asked = [*project["dependencies"], *(one for extra in project["optional-dependencies"].values() for one in extra)]
    names = {canonicalize_name(Requirement(one).name) for one in asked} - {"pediatricsgpt"}
    table = (REPOSITORY / "CONTRIBUTING.md").read_text(encoding="utf-8").split("## Dependencies")[1]
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in re.findall(r"(?m)^\|.*\|$", table)]
    told = {canonicalize_name(name) for cells in rows if all(cells) for name in re.findall(r"[A-Za-z][\w-]+", cells[0])}
    assert names - told == set()
