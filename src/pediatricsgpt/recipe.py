"""The recipe: one typed YAML file describes one whole run.

It composes the rooms' own settings. Every error names the file, the line and the field, and what to do; a misspelt key
is answered with the nearest real one. Nothing here imports torch.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, get_origin

import yaml
from pydantic import BaseModel, Field, model_validator

from pediatricsgpt import recipe_file
from pediatricsgpt.corpus.settings import CorpusSettings
from pediatricsgpt.endpoint.settings import TeacherSettings
from pediatricsgpt.errors import UserError
from pediatricsgpt.evaluation.settings import MODELS, EvaluationSettings
from pediatricsgpt.models.settings import ModelSettings
from pediatricsgpt.recipe_file import settings_class
from pediatricsgpt.settings import Settings
from pediatricsgpt.training.settings import CptSettings, DfpoSettings, ExpertsSettings, SftSettings


class AnyRecipe(Settings):
    """What every recipe has."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    """Name of the run: its results are in runs/NAME"""
    seed: int = Field(default=17, ge=0, lt=2**32)
    """Seed of everything that is drawn: split, order, weights, sampling"""
    threads: int | None = Field(default=None, ge=1)
    """CPU threads; null takes all cores. Results are equal bit for bit only with the same number"""


class Comparison(AnyRecipe):
    """Models that are there, measured beside each other: nothing is built and nothing trained."""

    evaluation: EvaluationSettings
    """The models, and what they are measured on"""

    @model_validator(mode="after")
    def _has_what_it_compares(self) -> Comparison:
        if not self.evaluation.models:
            raise ValueError(
                "evaluation.models names no model to measure; a recipe that trains one needs corpus and model"
            )
        if self.evaluation.held_out:
            names = ", ".join(self.evaluation.held_out)
            raise ValueError(
                f"benchmarks {names} without a path are those of the run's own held-out set, and this recipe builds "
                "none; give the path of a run's corpus/held_out/rows.parquet, or other benchmarks"
            )
        _stays_here(self.evaluation.endpoints(), deidentified=True)
        return self


class Recipe(AnyRecipe):
    """One whole run, from sources to report."""

    corpus: CorpusSettings
    """Sources and how the training sets are built from them"""
    teacher: TeacherSettings | None = None
    """The teacher of every rule in corpus.build that names none of its own; null: rows are made by rules alone"""
    model: ModelSettings
    """The base model"""
    cpt: CptSettings = CptSettings()
    """Phase 1: continued pre-training"""
    sft: SftSettings = SftSettings()
    """Phase 2: supervised fine-tuning"""
    dfpo: DfpoSettings = DfpoSettings()
    """Phase 3: preference optimisation"""
    experts: ExpertsSettings = ExpertsSettings()
    """Phase 4: mixture of universal-specific experts"""
    evaluation: EvaluationSettings = EvaluationSettings()
    """What the models are measured on"""

    @model_validator(mode="after")
    def _sends_nothing_by_accident(self) -> Recipe:
        rules = self.corpus.build
        own = [rules.role_play.teacher, rules.reconstruct.teacher, rules.distill.teacher]
        teachers = (self.teacher, *own, rules.preferences.teacher, rules.preferences.weaker)
        asked = [teacher for teacher in teachers if isinstance(teacher, TeacherSettings)]
        _stays_here([*asked, *self.evaluation.endpoints()], self.corpus.deidentify.enabled)
        return self


def _stays_here(endpoints: Iterable[TeacherSettings], deidentified: bool) -> None:
    """Nothing leaves the machine by accident: the recipe has to say it, and only de-identified rows may go."""
    for endpoint in endpoints:
        if not endpoint.external:
            continue
        if not endpoint.allow_external:
            raise ValueError(f"{endpoint.base_url} is not this machine: say allow_external: true, or use one here")
        if not deidentified:
            raise ValueError(f"rows for {endpoint.base_url} must be de-identified: switch corpus.deidentify on")


def load_recipe(path: Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read and check the recipe of a whole run.

    Args:
        path: a YAML file.
        overrides: changes of the form `a.b=value`, the value in YAML.

    Raises:
        UserError: the file cannot be read, or a setting is unknown, of a wrong type or contradicts another (the error
            names the file, the line and the field); or the recipe only compares models.
    """
    return whole(load_any(path, overrides), path)


def whole(recipe: AnyRecipe, where: Path | None = None) -> Recipe:
    """A recipe that builds and trains.

    Raises:
        UserError: it only compares models.
    """
    if not isinstance(recipe, Recipe):
        raise UserError("this recipe only compares models: it has no corpus and no model to train", where)
    return recipe


def load_any(path: Path, overrides: Sequence[str] = ()) -> Recipe | Comparison:
    """The same for a recipe of either kind: one without `corpus` and `model` compares models that are there."""
    file = recipe_file.read(path, overrides)
    if "evaluation" in file.changed and not {"corpus", "model"} & set(file.changed):
        return file.validated(Comparison)
    return file.validated(Recipe)


def check_paths(recipe: Recipe | Comparison, folder: Path) -> int:
    """Check that everything that a recipe names is there: sources, tokenizer, chat template, base, own behaviour file,
    benchmarks, models; and that each phase can go on from the one before.

    Args:
        recipe: the recipe.
        folder: the recipe's folder, to which its paths are relative.

    Returns:
        the number of source files, or of a comparison's benchmarks.

    Raises:
        UserError: something is not there, and its path is named; or as `check_phases`.
    """
    _check_evaluation(recipe, folder)
    if isinstance(recipe, Comparison):
        return len(recipe.evaluation.benchmarks)
    check_phases(recipe, ["experts"])
    from pediatricsgpt.corpus.sources import consumed_files, files_of
    from pediatricsgpt.models.load import local_or_hub

    files = sum(len(consumed_files(source, folder)) for source in recipe.corpus.sources)
    for test_set in recipe.corpus.decontaminate.against:
        files_of(test_set.path, folder)
    model = recipe.model
    if model.init and model.tokenizer and not (folder / model.tokenizer / "tokenizer.json").is_file():
        raise UserError("no tokenizer.json in this folder (model.tokenizer)", folder / model.tokenizer)
    named = {
        "model.chat_template": model.chat_template,
        "corpus.build.behaviour.file": recipe.corpus.build.behaviour.file,
        "corpus.build.behaviour.safety_file": recipe.corpus.build.behaviour.safety_file,
    }
    for setting, file in named.items():
        if file is not None and not (folder / file).is_file():
            raise UserError(f"no such file ({setting})", folder / file)
    for phase in (recipe.cpt, recipe.sft, recipe.dfpo, recipe.experts):
        for file in phase.files(folder):
            if not file.is_file():
                raise UserError("no such file (a phase's own 'data')", file)
    if model.base is not None:
        local_or_hub(model.base, folder)
    return files


def _check_evaluation(recipe: Recipe | Comparison, folder: Path) -> None:
    from pediatricsgpt.models.load import local_or_hub

    for setting, path in recipe.evaluation.files(folder):
        if not path.exists():
            raise UserError(f"no such file or folder ({setting})", path)
    own = MODELS if isinstance(recipe, Recipe) else ()
    for model in recipe.evaluation.models:
        if model.name in own:
            raise UserError(f"a model of this run is called {model.name} already; give this one another name", folder)
        if model.model is not None:
            local_or_hub(model.model, folder)


def check_phases(recipe: Recipe, names: Collection[str]) -> None:
    """Check that each of these phases can go on from the one before, while nothing is trained yet.

    Args:
        recipe: the recipe.
        names: of the nodes that are to be done; phase 3 by itself may end in an adapter.

    Raises:
        UserError: phase 4 would be given an adapter.
    """
    if "experts" in names and recipe.dfpo.adapter.kind == "experts":
        raise UserError(
            "experts cannot be merged, and phase 4 puts its own on a whole model; set dfpo.adapter.kind: lora, or stop "
            "before phase 4 (pedgpt run --until dfpo)",
            "dfpo.adapter.kind",
        )


def documentation(model: type[BaseModel] = Recipe, indent: int = 0) -> Iterator[str]:
    """Every setting with its type, default and meaning, as lines of commented YAML."""
    pad = "  " * indent
    for name, field in model.model_fields.items():
        inner = settings_class(field.annotation)
        meaning = " ".join((field.description or (inner.__doc__ if inner else "") or "").split())
        yield f"{pad}# {meaning}".rstrip()
        if inner is None:
            default = "" if field.is_required() else _yaml_value(field.get_default(call_default_factory=True))
            yield f"{pad}{name}: {default or '(required)'}"
        else:
            yield f"{pad}{name}:{'  # a list' if get_origin(field.annotation) is list else ''}"
            yield from documentation(inner, indent + 1)


def as_yaml(recipe: AnyRecipe) -> str:
    """A recipe with all its defaults, as YAML that gives the same recipe again."""
    return str(yaml.safe_dump(recipe.model_dump(mode="json"), allow_unicode=True, sort_keys=False, width=110))


def _yaml_value(value: Any) -> str:
    return str(yaml.safe_dump(value, allow_unicode=True, default_flow_style=True)).strip().removesuffix("\n...")
