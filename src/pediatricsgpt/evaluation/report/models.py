"""Which models a run measured, and where their answers come from."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pediatricsgpt.evaluation.compare import MODELS
from pediatricsgpt.evaluation.compare.questions import sorted_models
from pediatricsgpt.evaluation.report.files import RunFiles, expected

_MADE = {
    "answers": "given elsewhere 他处给出",
    "api": "by its address 接口",
    "model": "other model 其他模型",
}


def made(run: RunFiles) -> dict[str, str]:
    """Model -> where its answers come from; models that the recipe does not name are not there.

    Raises:
        UserError: the run's recipe is not in the form of this version.
    """
    found = dict.fromkeys(MODELS, "this run")
    with expected(run.folder / "recipe.yaml"):
        for one in (run.recipe.get("evaluation") or {}).get("models") or ():
            found[str(one["name"])] = next((text for key, text in _MADE.items() if one.get(key) is not None), "")
    return found


def named(run: RunFiles, model: str) -> tuple[str, str]:
    """A model's name, and where its answers come from if it is none of the run's own."""
    return model, "" if model in MODELS else made(run).get(model, "")


def order(run: RunFiles) -> list[str]:
    """Names of models in the order in which they are shown: the run's own, then others as the recipe names them."""
    return list(made(run))


def results(run: RunFiles, folder: str, file: str) -> dict[str, dict[str, Any]]:
    """Model -> what its file says below a folder of the run, in the order in which models are shown.

    Raises:
        UserError: a file is damaged.
    """
    names = [path.parent.name for path in (run.folder / folder).glob(f"*/{file}")]
    whole = [name for name in names if not name.endswith((".partial", ".old"))]
    return results_of(run, folder, sorted_models(whole, order(run)), file)


def results_of(run: RunFiles, folder: str, names: Iterable[str], file: str) -> dict[str, dict[str, Any]]:
    """The same of some models; those without the file are not there."""
    found = {}
    for name in names:
        one = run.json(f"{folder}/{name}/{file}")
        if one is not None:
            with expected(run.folder / folder / name / file):
                found[name] = dict(one)
    return found


def ours(models: Iterable[str]) -> str | None:
    """The run's own last model among some; None where there is none."""
    present = [name for name in MODELS if name in set(models)]
    return present[-1] if present else None


def against(models: Iterable[str]) -> list[tuple[str, str]]:
    """(other, model): our last model, or else the first, against every other one."""
    names = list(models)
    one = ours(names) or (names[0] if names else "")
    return [(name, one) for name in names if name != one]
