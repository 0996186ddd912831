"""Two models' answers compared by language models."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pediatricsgpt.cli import endpoints
from pediatricsgpt.cli.common import Json, console, errors, make_folder, say, say_aside, warn
from pediatricsgpt.errors import UserError

if TYPE_CHECKING:
    from pediatricsgpt.endpoint.settings import TeacherSettings
    from pediatricsgpt.evaluation.judge.ask import Showing
    from pediatricsgpt.evaluation.judge.questions import Pair
    from pediatricsgpt.evaluation.settings import JudgeSettings

AnswersA = Annotated[
    Path, typer.Argument(metavar="A.jsonl", help="Predictions of model A (JSON lines).", show_default=False)
]
AnswersB = Annotated[
    Path, typer.Argument(metavar="B.jsonl", help="Predictions of model B on the same questions.", show_default=False)
]
Out = Annotated[
    Path, typer.Option("--out", help="Folder for verdicts.jsonl, judge.json and the paid answers.", show_default=False)
]
SettingsFile = Annotated[
    Path | None,
    typer.Option("--settings", help="One or several judges and how they judge (YAML), instead of --api."),
]
Intersect = Annotated[bool, typer.Option("--intersect", help="Judge the common questions of files that differ.")]
MaxItems = Annotated[
    int | None, typer.Option(min=1, help="Questions at most, chosen by a hash of their ids (100).", show_default=False)
]
OneOrder = Annotated[bool, typer.Option("--one-order", help="Show each pair once: half the price, no flips counted.")]
Repeats = Annotated[
    int | None, typer.Option(min=1, help="How often the same is asked, for self-consistency (1).", show_default=False)
]
KeepMarkdown = Annotated[bool, typer.Option("--keep-markdown", help="Show headings, lists and bold type.")]
EqualLength = Annotated[bool, typer.Option("--equal-length", help="Cut the longer answer near the shorter one's end.")]
Temperature = Annotated[float, typer.Option(min=0, max=2, help="Of the judge; above 0 for repeats.")]
Teacher = Annotated[
    list[str] | None,
    typer.Option(
        "--teacher", help="A model that wrote training data of A or B, and so may not judge.", show_default=False
    ),
]
MayBeTeacher = Annotated[
    str | None, typer.Option("--may-be-teacher", help="Why it may all the same; printed beside the figures.")
]
Validation = Annotated[Path | None, typer.Option("--validation", help="What `pedgpt validate-judge` wrote.")]
By = Annotated[str | None, typer.Option("--by", help="Also show net wins by task, department or age_band.")]


def judge(
    a: AnswersA,
    b: AnswersB,
    out: Out,
    api: endpoints.Api = None,
    model: endpoints.ApiModel = None,
    settings_file: SettingsFile = None,
    names: endpoints.Names = None,
    intersect: Intersect = False,
    max_items: MaxItems = None,
    one_order: OneOrder = False,
    repeats: Repeats = None,
    keep_markdown: KeepMarkdown = False,
    equal_length: EqualLength = False,
    key_env: endpoints.KeyEnv = None,
    allow_external: endpoints.AllowExternal = False,
    temperature: Temperature = 0.0,
    max_tokens: endpoints.MaxTokens = 1024,
    repairs: endpoints.Repairs = 2,
    concurrency: endpoints.Concurrency = 4,
    requests_per_minute: endpoints.RequestsPerMinute = None,
    timeout: endpoints.Timeout = 120.0,
    price_input: endpoints.PriceInput = 0.0,
    price_output: endpoints.PriceOutput = 0.0,
    currency: endpoints.Currency = "CNY",
    budget_tokens: endpoints.BudgetTokens = None,
    budget_money: endpoints.BudgetMoney = None,
    teacher: Teacher = None,
    may_be_teacher: MayBeTeacher = None,
    validation: Validation = None,
    by: By = None,
    estimate: endpoints.OnlyEstimate = False,
    yes: endpoints.Yes = False,
    as_json: Json = False,
) -> None:
    """Have judges say which of two models answered better: usefulness, correctness, consistency, fluency.

    Blind, in both orders; win, tie and loss with intervals. Stopped at any moment, the same command goes on.
    """
    given = {
        "max_items": max_items,
        "repeats": repeats,
        "may_be_teacher": may_be_teacher,
        "both_orders": False if one_order else None,
        "strip_markdown": False if keep_markdown else None,
        "equal_length": True if equal_length else None,
    }
    if settings_file:
        settings = _from_file(settings_file, api, given)
        validation = validation or (settings_file.parent / settings.validation if settings.validation else None)
    else:
        money = {"price_input": price_input, "price_output": price_output, "currency": currency}
        bounds = {"budget_tokens": budget_tokens, "budget_money": budget_money, "max_tokens": max_tokens}
        how: dict[str, Any] = {"temperature": temperature, "repairs": repairs}
        how |= {"requests_per_minute": requests_per_minute, "timeout": timeout}
        one = endpoints.settings_of(api, model, key_env, allow_external, concurrency, **money, **bounds, **how)
        settings = _settings([one], given)
    sides, flags = endpoints.two_names(names), (estimate, yes, as_json)
    _judge(a, b, out, settings, sides, intersect, teacher or [], validation, by, flags)


def _judge(
    a: Path,
    b: Path,
    out: Path,
    settings: JudgeSettings,
    names: tuple[str, str] | None,
    intersect: bool,
    teachers: Sequence[str],
    validation: Path | None,
    by: str | None,
    flags: tuple[bool, bool, bool],
) -> None:
    from pediatricsgpt.evaluation.judge import questions, run, show
    from pediatricsgpt.evaluation.judge.checks import teachers_too
    from pediatricsgpt.evaluation.validation.run import read_validation
    from pediatricsgpt.manifest import disk_errors, locked

    estimate, yes, as_json = flags
    show.check_label(by)
    for one in settings.judges:
        endpoints.check_may_leave(one, "--allow-external, or allow_external: true in the file of --settings")
    pair = questions.read_pair(a, b, names, intersect)
    known = [*teachers, *_teachers_of_runs((a, b))]
    teachers_too(settings.judges, known, settings.may_be_teacher)
    if validation:
        read_validation(validation)
    kept, showings = run.prepared(pair, settings)
    if by and not any(getattr(question, by) for question in kept.questions):
        raise UserError(f"no question says its {by}; leave --by out", "--by")
    say_aside(_sizes(kept))
    if _told_costs(settings, showings, out) and not (yes or estimate):
        endpoints.ask_to_pay()
    if estimate:
        return
    make_folder(out)
    leaves = all(judge.allow_external for judge in settings.judges if judge.external)
    with disk_errors(out), locked(out), _bar(run.workload(pair, settings)) as advance:
        found = run.judge_pair(pair, settings, out, None, known, validation, leaves, advance)
    _show(found, by, as_json)


def _from_file(path: Path, api: str | None, given: dict[str, Any]) -> JudgeSettings:
    from pediatricsgpt.evaluation.settings import JudgeSettings
    from pediatricsgpt.recipe_file import read

    if api:
        raise UserError("the judges stand in the file of --settings; leave one of the two out", "--api")
    if not path.is_file():
        raise UserError("no such file; --settings names a YAML file with judges", path)
    settings = read(path, []).validated(JudgeSettings)
    return settings.model_copy(update={name: value for name, value in given.items() if value is not None})


def _settings(judges: list[TeacherSettings], given: dict[str, Any]) -> JudgeSettings:
    from pediatricsgpt.evaluation.settings import JudgeSettings

    return JudgeSettings(judges=judges, **{name: value for name, value in given.items() if value is not None})


def _teachers_of_runs(files: Sequence[Path]) -> list[str]:
    """Models that wrote training data of the runs that these predictions lie in, by the runs' own recipes."""
    import yaml

    recipes = {recipe for file in files if (recipe := _recipe_of(file))}
    found: set[str] = set()
    for path in sorted(recipes):
        try:
            recipe = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, yaml.YAMLError) as error:
            raise UserError("the run's recipe cannot be read, so nobody knows who its teachers were", path) from error
        found |= set(_models_at_addresses({key: part for key, part in recipe.items() if key != "evaluation"}))
    return sorted(found)


def _recipe_of(file: Path) -> Path | None:
    """The recipe of the run that a predictions file lies in: RUN/evaluation/…/predictions.jsonl."""
    for parent in file.resolve().parents:
        if parent.name == "evaluation" and (parent.parent / "recipe.yaml").is_file():
            return parent.parent / "recipe.yaml"
    return None


def _models_at_addresses(part: Any) -> Iterator[str]:
    """Of part of a recipe, but for `weaker`: what it wrote is what models learn not to say."""
    if isinstance(part, dict):
        if isinstance(part.get("base_url"), str) and isinstance(part.get("model"), str):
            yield part["model"]
        for value in (value for key, value in part.items() if key != "weaker"):
            yield from _models_at_addresses(value)
    elif isinstance(part, list):
        for value in part:
            yield from _models_at_addresses(value)


def _sizes(pair: Pair) -> str:
    only = f"; {pair.only_one[0]} that only A and {pair.only_one[1]} that only B answered" if any(pair.only_one) else ""
    rest = f" of {len(pair.questions) + pair.left_out} common ones (--max-items)" if pair.left_out else ""
    return f"{pair.models[0]} (A) against {pair.models[1]} (B): {len(pair.questions)} questions{rest}{only}"


def _told_costs(settings: JudgeSettings, showings: Sequence[Showing], out: Path) -> bool:
    """Say what it will cost; whether that is money, or text that leaves this machine."""
    from pediatricsgpt.evaluation.judge.ask import forecast
    from pediatricsgpt.evaluation.paid import ANSWERS

    forecasts = forecast(settings, showings, out / ANSWERS)
    for one in forecasts:
        say_aside(one.line)
    return any(one.to_agree for one in forecasts)


def _show(found: dict[str, Any], by: str | None, as_json: bool) -> None:
    import json

    from pediatricsgpt.evaluation.judge import show

    if as_json:
        typer.echo(json.dumps(found, ensure_ascii=False, indent=1))
        return
    console.print(show.table(found))
    console.print(show.quality(found))
    if by:
        console.print(show.strata(found, by))
    for line in show.lines(found):
        say(line)
    for warning in found["warnings"]:
        warn(warning)


def _bar(total: int) -> Any:
    from pediatricsgpt.progress import progress

    return progress(errors, "judging", total)
