"""Settings of the evaluation room."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import Field, field_validator, model_validator

from pediatricsgpt.endpoint.settings import TeacherSettings
from pediatricsgpt.settings import Settings

HeldOutTask = Literal["medkqa", "evidiag", "trerecom"]
BenchmarkName = Literal[
    "medkqa",
    "evidiag",
    "trerecom",
    "cmd",
    "webmedqa",
    "cmedqa2",
    "cmb",
    "cmexam",
    "medqa-zh",
    "pediabench",
    "own",
]
ModelName = Literal["base", "cpt", "sft", "dfpo", "experts"]
MODELS: tuple[str, ...] = get_args(ModelName)
"""The models of a run in the order in which they are made"""
HELD_OUT_TASKS: tuple[str, ...] = get_args(HeldOutTask)
_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"


class BenchmarkSettings(Settings):
    """A set of questions that models are measured on."""

    name: BenchmarkName
    """What it is, which decides how its files are read: cmd, webmedqa, cmedqa2, cmb, cmexam, medqa-zh, pediabench; own
    (JSON lines, CSV or xlsx); or one of our held-out tasks from the held_out folder of some run"""
    path: str | None = None
    """Its file or folder, relative to the recipe. Nothing is downloaded: without it you are told where it comes from"""
    label: str | None = Field(default=None, pattern=_NAME)
    """Its name in the results, where two are of one kind"""
    max_items: int | None = Field(default=None, ge=1)
    """Items at most, chosen by a hash of their ids; null takes evaluation.max_items"""
    departments: list[str] | None = None
    """Only items of these departments or subjects, in the file's own words, for example [儿科]"""

    @property
    def title(self) -> str:
        """Its name in the results."""
        return self.label or self.name


class ModelUnderTest(Settings):
    """A model that is measured beside others: weights, an address, or answers that were given elsewhere."""

    name: str = Field(pattern=_NAME)
    """Its name in the results"""
    model: str | None = None
    """A run's phase folder, a model folder (relative to the recipe) or a hub id"""
    api: TeacherSettings | None = None
    """Or an OpenAI-compatible address"""
    answers: dict[str, str] | None = None
    """Or its answers to benchmarks, given elsewhere: benchmark -> file (relative to the recipe)"""

    @model_validator(mode="after")
    def _is_one_thing(self) -> ModelUnderTest:
        given = [name for name in ("model", "api", "answers") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"{self.name}: name exactly one of model, api and answers, not {given or 'none'}")
        return self


class JudgeSettings(Settings):
    """Language models that compare two models' answers."""

    judges: list[TeacherSettings] = Field(min_length=1)
    """One or several; with several their agreement is reported"""
    pairs: list[tuple[str, str]] | None = None
    """Pairs of models by name, for example [[experts, base]]; null compares the run's last model (in a
    comparison the first that is listed) with every other"""
    benchmarks: list[str] | None = None
    """Whose answers are judged; null: the held-out tasks and every benchmark with free answers"""
    max_items: int = Field(default=100, ge=1)
    """Items of a benchmark at most, chosen by a hash of their ids"""
    both_orders: bool = True
    """Show each pair in both orders; a verdict that follows the place and not the answer counts as a tie"""
    repeats: int = Field(default=1, ge=1)
    """How often the same is asked; above 1 the judge's agreement with itself is reported (needs temperature above 0)"""
    strip_markdown: bool = True
    """Show answers without headings, lists and bold type, which please judges by themselves"""
    equal_length: bool = False
    """Cut the longer answer at a sentence's end near the length of the shorter one"""
    may_be_teacher: str | None = None
    """A judge that also wrote training data favours its own: refused, unless a reason stands here, which the report
    prints beside every figure of it"""
    validation: str | None = None
    """A validation.json, as `pedgpt validate-judge` writes it, relative to the recipe; without one that a judge passed,
    the report gives its figures but no headline"""

    @field_validator("judges")
    @classmethod
    def _distinct(cls, judges: list[TeacherSettings]) -> list[TeacherSettings]:
        names = [(judge.base_url, judge.model) for judge in judges]
        if len(set(names)) < len(names):
            raise ValueError("two judges are the same model at the same address: use repeats instead")
        return judges


class RubricSettings(Settings):
    """Grading of answers by criteria that have points, in the form of HealthBench."""

    judge: TeacherSettings
    """Who says whether a criterion is met"""
    path: str | None = None
    """Your own rubrics (YAML or HealthBench's JSON lines), relative to the recipe; null takes the packaged pediatric
    starter set"""
    max_items: int | None = Field(default=None, ge=1)
    """Items at most, chosen by a hash of their ids; null grades all"""


class ConsultationSettings(Settings):
    """Simulated consultations: the model leads, a caregiver answers from a hidden card."""

    caregiver: TeacherSettings | None = None
    """Who plays the caregiver; null: a caregiver by rules, the same every time"""
    cards: str | None = None
    """Your own folder of cards, relative to the recipe; null takes the packaged ones"""
    max_cards: int | None = Field(default=None, ge=1)
    """Cards at most; null takes all"""
    max_turns: int = Field(default=10, ge=1)
    """Turns of the model at most"""


class EvaluationSettings(Settings):
    """What every model of a run is measured on: the same items, with the same settings."""

    benchmarks: list[BenchmarkSettings] = Field(
        default_factory=lambda: [BenchmarkSettings(name=name) for name in get_args(HeldOutTask)], min_length=1
    )
    """Held-out tasks (by name) and public benchmarks (with their path) on which answers are generated and scored"""
    models: list[ModelUnderTest] = Field(default=[])
    """Other models on the same items: by path, hub id or address, or by answers that were given elsewhere"""
    own_models: list[ModelName] = Field(default_factory=lambda: list(get_args(ModelName)))
    """Which of the run's own models are measured on public benchmarks and rubrics and in consultations; on the held-out
    set all of them are"""
    max_items: int = Field(default=200, ge=1)
    """Items per task or benchmark, chosen by a hash of their ids"""
    max_loss_rows: int = Field(default=500, ge=1)
    """Held-out rows for the held-out loss, chosen by a hash of their ids"""
    max_new_tokens: int = Field(default=256, ge=1)
    """Longest generated answer, in tokens"""
    repetition_penalty: float = Field(default=1.0, ge=1.0)
    """Above 1 a model repeats itself less; answers are greedy otherwise. 1 changes nothing"""
    batch_size: int = Field(default=16, ge=1)
    """Prompts that are generated together"""
    failed_as_empty: bool = False
    """Go on where a server will not answer a question: the answer counts as empty, and is counted. Otherwise the run
    stops there, and asks these questions again the next time"""
    metrics: Literal["paper", "char"] = "paper"
    """Metric profile: paper (words cut by jieba, the published definitions) or char (characters)"""
    judge: JudgeSettings | None = None
    """Language models that compare answers pairwise; null: none"""
    panel: str | None = None
    """Doctors' verdicts (JSON lines in the form of a judge's: id, dimension, left, right, verdict, rater, order),
    relative to the recipe; null: none"""
    rubrics: RubricSettings | None = None
    """Grading by criteria with points; null: none"""
    consultations: ConsultationSettings | None = None
    """Simulated consultations; null: none"""

    @field_validator("benchmarks", mode="before")
    @classmethod
    def _by_name(cls, benchmarks: Any) -> Any:
        """A name alone stands for a benchmark without settings."""
        if not isinstance(benchmarks, list):
            return benchmarks
        return [{"name": one} if isinstance(one, str) else one for one in benchmarks]

    @model_validator(mode="after")
    def _distinct_names(self) -> EvaluationSettings:
        for what, names in (
            ("benchmarks", [one.title for one in self.benchmarks]),
            ("models", [one.name for one in self.models]),
        ):
            twice = sorted({name for name in names if names.count(name) > 1})
            if twice:
                hint = "; give one a label of its own" if what == "benchmarks" else ""
                raise ValueError(f"two {what} are named {', '.join(twice)}{hint}")
        for one in self.models:
            unknown = sorted(set(one.answers or ()) - {benchmark.title for benchmark in self.benchmarks})
            if unknown:
                raise ValueError(f"answers of {one.name} to {', '.join(unknown)}, which is not among the benchmarks")
        return self

    @property
    def held_out(self) -> list[str]:
        """Tasks of the run's own held-out set."""
        return [one.name for one in self.benchmarks if one.name in HELD_OUT_TASKS and one.path is None]

    @property
    def files_of_its_own(self) -> list[BenchmarkSettings]:
        """Benchmarks other than the run's own held-out set."""
        return [one for one in self.benchmarks if one.name not in HELD_OUT_TASKS or one.path is not None]

    def endpoints(self) -> Iterator[TeacherSettings]:
        """Every address that questions and answers are sent to."""
        yield from (one.api for one in self.models if one.api)
        yield from self.judge.judges if self.judge else ()
        if self.rubrics:
            yield self.rubrics.judge
        if self.consultations and self.consultations.caregiver:
            yield self.consultations.caregiver

    def files(self, folder: Path) -> Iterator[tuple[str, Path]]:
        """(setting, path) of everything that the recipe names outside the run."""
        for one in self.files_of_its_own:
            if one.path is not None:
                yield f"path of benchmark {one.title}", folder / one.path
        for model in self.models:
            for benchmark, path in (model.answers or {}).items():
                yield f"answers of {model.name} to {benchmark}", folder / path
        if self.judge and self.judge.validation:
            yield "evaluation.judge.validation", folder / self.judge.validation
        if self.panel:
            yield "evaluation.panel", folder / self.panel
        if self.rubrics and self.rubrics.path:
            yield "evaluation.rubrics.path", folder / self.rubrics.path
        if self.consultations and self.consultations.cards:
            yield "evaluation.consultations.cards", folder / self.consultations.cards
