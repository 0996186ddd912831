"""The house of DESIGN: imports go down only, and rooms share the data contract, not code."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = "pediatricsgpt"
GROUND, FIRST, ROOMS, ROOF = 0, 1, 2, 3
FLOORS = {
    **dict.fromkeys(
        ["records", "schemas", "columns", "text", "facts", "errors", "settings", "manifest", "code_version"], GROUND
    ),
    **dict.fromkeys(["endpoint", "experts", "processes"], GROUND),
    **dict.fromkeys(["models", "safety", "web", "progress", "curves"], FIRST),
    **dict.fromkeys(["corpus", "training", "evaluation", "serving"], ROOMS),
    **dict.fromkeys(
        [
            "recipe",
            "recipe_file",
            "run",
            "graph",
            "corpus_graph",
            "evaluation_graph",
            "evaluation_work",
            "training_sets",
            "teachers",
            "plan",
            "environment",
            "cli",
        ],
        ROOF,
    ),
}
# evaluation may ask the corpus, once that module exists, which of its test items were trained on
BETWEEN_ROOMS = {("evaluation", f"{PACKAGE}.corpus.decontaminate")}


def imports(code: str, module: str) -> Iterator[str]:
    """Every module of ours that this code imports, by its full name; modules named in a string count too."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            parent = ".".join(module.split(".")[: -node.level]) + "." if node.level else ""
            base = (parent + (node.module or "")).rstrip(".")
            # `from pediatricsgpt import text` names a module, `from pediatricsgpt.text import key` a function in one
            names = [f"{base}.{alias.name}" for alias in node.names] if base == PACKAGE else [base]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and " " not in node.value:
            names = [node.value]
        else:
            continue
        yield from (name for name in names if name.startswith(f"{PACKAGE}."))


def part(module: str) -> str:
    """The room or file of a module: corpus for pediatricsgpt.corpus.build.rows."""
    return module.split(".")[1]


def complaint(module: str, imported: str) -> str | None:
    """Why this import is not allowed; None where it is."""
    own, other = part(module), part(imported)
    if other not in FLOORS:  # a name in pediatricsgpt/__init__.py, such as __version__
        return None
    if own == other:
        return None
    if other == "cli":
        return "nothing imports the command line"
    if FLOORS[own] < FLOORS[other]:
        return "imports go down only"
    if FLOORS[own] == FLOORS[other] == ROOMS and (own, imported) not in BETWEEN_ROOMS:
        return "rooms share the data contract, not code"
    return None


@pytest.fixture(scope="module")
def modules(repository: Path) -> dict[str, str]:
    """The code of every module, by its full name."""
    source = repository / "src"
    return {
        ".".join(file.relative_to(source).with_suffix("").parts): file.read_text(encoding="utf-8")
        for file in sorted((source / PACKAGE).rglob("*.py"))
    }


def test_every_part_has_its_floor(modules: dict[str, str]) -> None:
    parts = {part(module) for module in modules if module != f"{PACKAGE}.__init__"}
    assert parts - FLOORS.keys() == set(), "give it a floor here and in DESIGN"


def test_imports_go_down_and_not_between_rooms(modules: dict[str, str]) -> None:
    found = [
        f"{module} imports {imported}: {reason}"
        for module, code in modules.items()
        if module != f"{PACKAGE}.__init__"
        for imported in imports(code, module)
        if (reason := complaint(module, imported))
    ]
    assert found == []


def test_the_package_itself_imports_nothing_of_ours(modules: dict[str, str]) -> None:
    assert list(imports(modules[f"{PACKAGE}.__init__"], PACKAGE)) == []


@pytest.mark.parametrize(
    ("module", "code", "reason"),
    [
        ("pediatricsgpt.text", "from pediatricsgpt.models.load import load", "imports go down only"),
        ("pediatricsgpt.text", "def f():\n    from pediatricsgpt import recipe", "imports go down only"),
        ("pediatricsgpt.training.sft", "import pediatricsgpt.corpus.clean", "rooms share"),
        ("pediatricsgpt.training.sft", "from ..corpus import clean", "rooms share"),
        ("pediatricsgpt.training.sft", "import_module('pediatricsgpt.corpus.clean')", "rooms share"),
        ("pediatricsgpt.evaluation.report", "from pediatricsgpt.corpus.clean import clean", "rooms share"),
        ("pediatricsgpt.run", "from pediatricsgpt.cli import app", "nothing imports the command line"),
    ],
)
def test_forbidden_imports_are_seen(module: str, code: str, reason: str) -> None:
    (complained,) = [complaint(module, name) for name in imports(code, module)]
    assert complained is not None
    assert complained.startswith(reason)


@pytest.mark.parametrize(
    ("module", "code"),
    [
        ("pediatricsgpt.corpus.quality", "from pediatricsgpt.models.engine import Engine"),
        ("pediatricsgpt.evaluation.benchmarks", "from pediatricsgpt.corpus.decontaminate import overlap"),
        ("pediatricsgpt.corpus.clean", "from pediatricsgpt import __version__, text"),
        ("pediatricsgpt.corpus.build.sft", "from .rows import Row"),
    ],
)
def test_allowed_imports_pass(module: str, code: str) -> None:
    assert [complaint(module, name) for name in imports(code, module)] in ([None], [None, None])


HEAVY = ["torch", "transformers", "trl", "peft", "accelerate", "datasets", "pandas", "matplotlib", "nltk", "pyarrow"]


@pytest.mark.parametrize("module", ["pediatricsgpt.cli", "pediatricsgpt.recipe"])
def test_help_and_recipe_checks_load_nothing_heavy(module: str) -> None:
    code = f"import sys, {module}; print(*({HEAVY!r} & sys.modules.keys()))".replace("[", "{").replace("]", "}")
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert loaded.stdout.split() == []
