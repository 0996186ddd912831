"""Rubrics: criteria with points that an answer meets or not."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pediatricsgpt.cli import endpoints
from pediatricsgpt.cli.common import Json, check_output, console, errors, interval, say, say_aside, warn
from pediatricsgpt.errors import UserError

if TYPE_CHECKING:
    from pediatricsgpt.endpoint.settings import TeacherSettings
    from pediatricsgpt.evaluation.rubrics.forms import RubricSet
    from pediatricsgpt.evaluation.rubrics.run import Answered

app = typer.Typer(no_args_is_help=True, help="Grade answers by criteria that have points, in the form of HealthBench.")

Predictions = Annotated[
    Path, typer.Argument(help="Answers to the items: JSON lines with id and prediction.", show_default=False)
]
Out = Annotated[
    Path | None, typer.Option("--out", help="Folder of the result; rubrics-NAME if not given.", show_default=False)
]
Name = Annotated[
    str | None,
    typer.Option("--name", help="Who answered; the file's 'model', or else its name.", show_default=False),
]
Intersect = Annotated[
    bool, typer.Option("--intersect", help="Grade the items that have an answer, where some have none.")
]
Rubrics = Annotated[
    Path | None,
    typer.Option(
        "--rubrics",
        help="Your rubrics: YAML (file or folder) or HealthBench's JSON lines; if not given, the packaged starter set.",
        show_default=False,
    ),
]
MaxItems = Annotated[
    int | None,
    typer.Option("--max-items", min=1, help="Items at most, chosen by a hash of their ids.", show_default=False),
]


@app.command()
def grade(
    predictions: Predictions,
    api: endpoints.Api = None,
    model: endpoints.ApiModel = None,
    out: Out = None,
    rubrics: Rubrics = None,
    name: Name = None,
    max_items: MaxItems = None,
    intersect: Intersect = False,
    estimate: endpoints.OnlyEstimate = False,
    yes: endpoints.Yes = False,
    key_env: endpoints.KeyEnv = None,
    allow_external: endpoints.AllowExternal = False,
    repairs: endpoints.Repairs = 2,
    concurrency: endpoints.Concurrency = 4,
    max_tokens: endpoints.MaxTokens = 512,
    requests_per_minute: endpoints.RequestsPerMinute = None,
    timeout: endpoints.Timeout = 120.0,
    price_input: endpoints.PriceInput = 0.0,
    price_output: endpoints.PriceOutput = 0.0,
    currency: endpoints.Currency = "CNY",
    budget_tokens: endpoints.BudgetTokens = None,
    budget_money: endpoints.BudgetMoney = None,
    as_json: Json = False,
) -> None:
    """Grade a model's answers: one call a criterion. Stopped at any moment, the same command goes on where it was."""
    import json

    from pediatricsgpt.evaluation.rubrics.forms import load_rubrics
    from pediatricsgpt.evaluation.rubrics.run import grade_answers, read_answers
    from pediatricsgpt.progress import progress

    money = {"price_input": price_input, "price_output": price_output, "currency": currency}
    bounds = {"budget_tokens": budget_tokens, "budget_money": budget_money, "max_tokens": max_tokens}
    how = {"temperature": 0.0, "repairs": repairs, "requests_per_minute": requests_per_minute, "timeout": timeout}
    judge = endpoints.settings_of(api, model, key_env, allow_external, concurrency, **money, **bounds, **how)
    chosen = load_rubrics(rubrics)
    answered = read_answers(predictions, chosen, intersect, max_items)
    answerer = name or answered.model or predictions.stem
    folder = out or Path(f"rubrics-{answerer.rstrip('/').rpartition('/')[2]}")
    if folder.is_file():
        raise UserError("this is a file; name a folder with --out", folder)
    costly = _told_costs(answered, judge, folder)
    if estimate:
        return
    if costly:
        endpoints.check_may_leave(judge)
    if costly and not yes:
        endpoints.ask_to_pay()
    criteria = sum(len(item.criteria) for item in answered.items)
    with progress(errors, f"grading {answerer}", criteria) as advance:
        found = grade_answers(chosen, answered, answerer, judge, folder, None, allow_external, advance)
    if as_json:
        typer.echo(json.dumps(found, ensure_ascii=False, indent=1))
        return
    _print(found)
    say(f"written: {folder}/rubrics.json, grades.jsonl")


@app.command("list")
def list_(rubrics: Rubrics = None, as_json: Json = False) -> None:
    """The items of a set: theme, task, criteria, points that can be reached."""
    import json

    from rich.table import Table

    from pediatricsgpt.evaluation.rubrics.forms import load_rubrics

    found = load_rubrics(rubrics)
    if as_json:
        rows = [
            {
                "id": item.id,
                "theme": item.theme,
                "task": item.task,
                "criteria": len(item.criteria),
                "points": item.possible,
            }
            for item in found.items
        ]
        typer.echo(json.dumps({**found.head(), "items": rows}, ensure_ascii=False, indent=1))
        return
    table = Table(box=None, pad_edge=False)
    for title in ("item", "theme", "task", "criteria", "points", "vetoes"):
        table.add_column(title, no_wrap=title == "item", justify="right" if title in _NUMBERS else "left")
    for item in found.items:
        vetoes = sum(one.veto for one in item.criteria)
        numbers = (str(len(item.criteria)), f"{item.possible:g}", str(vetoes))
        table.add_row(item.id, item.theme, item.task or "", *numbers)
    console.print(table)
    _head(found)


@app.command()
def show(
    item: Annotated[str, typer.Argument(help="The id of an item, see `list`.", show_default=False)],
    rubrics: Rubrics = None,
) -> None:
    """One item: its conversation, and each criterion with points, source, mark and who reviewed it."""
    from pediatricsgpt.evaluation.rubrics.forms import UNREVIEWED, load_rubrics

    found = load_rubrics(rubrics)
    wanted = next((one for one in found.items if one.id == item), None)
    if wanted is None:
        import difflib

        near = difflib.get_close_matches(item, [one.id for one in found.items], n=1)
        raise UserError(f"no item has this id{f'; did you mean {near[0]}?' if near else '; `list` shows them'}", item)
    say(f"{wanted.id}  theme: {wanted.theme}  task: {wanted.task or '-'}  age: {wanted.age_band or '-'}\n")
    for turn in wanted.messages:
        say(f"{turn.role}: {turn.content}")
    say("")
    for one in wanted.criteria:
        veto = "  [veto]" if one.veto else ""
        say(f"{one.points:+4g}  {one.id}: {one.text}{veto}")
        source = found.sources.get(one.source, one.source) or "-"
        say(f"      {one.mark or '-'}  {source}  {one.reviewer or UNREVIEWED}")
    _head(found)


@app.command()
def check(rubrics: Rubrics = None) -> None:
    """Read a set as grading would, and say what it holds and what nobody has reviewed."""
    from collections import Counter

    from pediatricsgpt.evaluation.rubrics.forms import load_rubrics

    found = load_rubrics(rubrics)
    criteria = [one for item in found.items for one in item.criteria]
    say(f"{len(found.items)} items, {len(criteria)} criteria, {sum(one.veto for one in criteria)} vetoes")
    for title, values in (
        ("themes", Counter(item.theme for item in found.items)),
        ("tasks", Counter(item.task or "none" for item in found.items)),
        ("marks", Counter(one.mark or "none" for one in criteria)),
    ):
        say(f"{title}: " + ", ".join(f"{name} {count}" for name, count in values.most_common()))
    _head(found)


@app.command()
def items(
    out: Annotated[Path, typer.Option("--out", help="File of the questions (JSON lines).", show_default=False)],
    rubrics: Rubrics = None,
    max_items: MaxItems = None,
) -> None:
    """Write the questions of a set, for a model to answer: `pedgpt generate MODEL --data FILE`."""
    import json

    from pediatricsgpt.evaluation.rubrics.forms import load_rubrics, questions
    from pediatricsgpt.manifest import disk_errors, write_atomically

    check_output(out)
    rows = list(questions(load_rubrics(rubrics), max_items))
    with disk_errors(out):
        write_atomically(out, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    say(f"{out}: {len(rows)} questions")


_NUMBERS = ("criteria", "points", "vetoes")


def _told_costs(answered: Answered, judge: TeacherSettings, folder: Path) -> bool:
    """Say what grading costs at most; whether that is money, or text that leaves this machine."""
    from pediatricsgpt.evaluation.rubrics.grade import forecast
    from pediatricsgpt.evaluation.rubrics.run import answers_folder

    cost = forecast(answered.items, answered.answers, judge, answers_folder(folder, judge))
    say_aside(f"{len(answered.items)} items; {cost.line}")
    return cost.to_agree


def _print(found: dict[str, Any]) -> None:
    from rich.table import Table

    say(f"{found['model']}, graded by {found['judge']['model']}; {found['n']} items")
    score, bare, share = (
        interval(one, 3, "no grade", with_n=True)
        for one in (found["score"], found["healthbench_score"], found["vetoed"]["share"])
    )
    say(f"score            {score}")
    say(f"without vetoes   {bare}  (as HealthBench has it)")
    say(f"vetoed items     {found['vetoed']['items']} of {found['n']}: {share}")
    table = Table("theme, weakest first", "n", "score", "vetoed", box=None, pad_edge=False)
    for theme, one in found["themes"].items():
        table.add_row(theme, str(one["n"]), interval(one["score"], 3, "no grade"), str(one["vetoed"]))
    console.print(table)
    for warning in found["warnings"]:
        warn(warning)


def _head(found: RubricSet) -> None:
    head = found.head()
    say(f"{head['name']} version {head['version']}, {head['licence']}, sha256 {head['sha256'][:12]}")
    if found.note or head["note"]:
        say("；".join(filter(None, (head["note"], found.note))))
