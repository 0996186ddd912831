"""Which models a run measured, and where their answers come from."""

from __future__ import annotations

from collections.abc import Iterable

from pediatricsgpt.evaluation.compare import MODELS
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


def ours(models: Iterable[str]) -> str | None:
    """The run's own last model among some; None where there is none."""
    present = [name for name in MODELS if name in set(models)]
    return present[-1] if present else None


def against(models: Iterable[str]) -> list[tuple[str, str]]:
    """(other, model): our last model, or else the first, against every other one."""
    names = list(models)
    one = ours(names) or (names[0] if names else "")
    return [(name, one) for name in names if name != one]
