"""Rubrics: criteria with points that an answer meets or not."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pediatricsgpt.cli.common import Json, check_output, console, errors
from pediatricsgpt.cli.endpoints import (
    AllowExternal,
    Api,
    ApiModel,
    BudgetMoney,
    BudgetTokens,
    Concurrency,
    Currency,
    KeyEnv,
    MaxTokens,
    PriceInput,
    PriceOutput,
    RequestsPerMinute,
    Timeout,
    settings_of,
)
from pediatricsgpt.errors import UserError

if TYPE_CHECKING:
    from pediatricsgpt.endpoint.settings import TeacherSettings
    from pediatricsgpt.evaluation.rubrics.forms import RubricSet
    from pediatricsgpt.evaluation.rubrics.run import Answered

app = typer.Typer(no_args_is_help=True, help="Grade answers by criteria that have points, in the form of HealthBench.")

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
    predictions: Annotated[
        Path, typer.Argument(help="Answers to the items: JSON lines with id and prediction.", show_default=False)
    ],
    api: Api = None,
    model: ApiModel = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Folder of the result; rubrics-NAME if not given.", show_default=False),
    ] = None,
    rubrics: Rubrics = None,
    name: Annotated[
        str | None,
        typer.Option("--name", help="Who answered; the file's 'model', or else its name.", show_default=False),
    ] = None,
    max_items: MaxItems = None,
    intersect: Annotated[
        bool, typer.Option("--intersect", help="Grade the items that have an answer, where some have none.")
    ] = False,
    estimate: Annotated[bool, typer.Option("--estimate", help="Say what it will cost, and ask nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Pay without being asked again.")] = False,
    key_env: KeyEnv = None,
    allow_external: AllowExternal = False,
    repairs: Annotated[
        int, typer.Option("--repairs", min=0, help="How often an answer that is no grade is asked for again.")
    ] = 2,
    concurrency: Concurrency = 4,
    max_tokens: MaxTokens = 512,
    requests_per_minute: RequestsPerMinute = None,
    timeout: Timeout = 120.0,
    price_input: PriceInput = 0.0,
    price_output: PriceOutput = 0.0,
    currency: Currency = "CNY",
    budget_tokens: BudgetTokens = None,
    budget_money: BudgetMoney = None,
    as_json: Json = False,
) -> None:
    """Grade a model's answers: one call a criterion. Stopped at any moment, the same command goes on where it was."""
    import json

    from pediatricsgpt.evaluation.rubrics.forms import load_rubrics
    from pediatricsgpt.evaluation.rubrics.run import grade_answers, read_answers
    from pediatricsgpt.progress import progress

    judge = settings_of(
        api,
        model,
        key_env,
        allow_external,
        concurrency,
        temperature=0.0,
        max_tokens=max_tokens,
        repairs=repairs,
        requests_per_minute=requests_per_minute,
        timeout=timeout,
        price_input=price_input,
        price_output=price_output,
        currency=currency,
        budget_tokens=budget_tokens,
        budget_money=budget_money,
    )
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
        _check_leave(judge, yes)
    criteria = sum(len(item.criteria) for item in answered.items)
    with progress(errors, f"grading {answerer}", criteria) as advance:
        found = grade_answers(chosen, answered, answerer, judge, folder, None, allow_external, advance)
    if as_json:
        typer.echo(json.dumps(found, ensure_ascii=False, indent=1))
        return
    _print(found)
    console.print(f"written: {folder}/rubrics.json, grades.jsonl", highlight=False, soft_wrap=True)


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
    _plain(f"{wanted.id}  theme: {wanted.theme}  task: {wanted.task or '-'}  age: {wanted.age_band or '-'}\n")
    for turn in wanted.messages:
        _plain(f"{turn.role}: {turn.content}")
    _plain("")
    for one in wanted.criteria:
        veto = "  [veto]" if one.veto else ""
        _plain(f"{one.points:+4g}  {one.id}: {one.text}{veto}")
        source = found.sources.get(one.source, one.source) or "-"
        _plain(f"      {one.mark or '-'}  {source}  {one.reviewer or UNREVIEWED}")
    _head(found)


@app.command()
def check(rubrics: Rubrics = None) -> None:
    """Read a set as grading would, and say what it holds and what nobody has reviewed."""
    from collections import Counter

    from pediatricsgpt.evaluation.rubrics.forms import load_rubrics

    found = load_rubrics(rubrics)
    criteria = [one for item in found.items for one in item.criteria]
    _plain(f"{len(found.items)} items, {len(criteria)} criteria, {sum(one.veto for one in criteria)} vetoes")
    for title, values in (
        ("themes", Counter(item.theme for item in found.items)),
        ("tasks", Counter(item.task or "none" for item in found.items)),
        ("marks", Counter(one.mark or "none" for one in criteria)),
    ):
        _plain(f"{title}: " + ", ".join(f"{name} {count}" for name, count in values.most_common()))
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
    _plain(f"{out}: {len(rows)} questions")


_NUMBERS = ("criteria", "points", "vetoes")


def _told_costs(answered: Answered, judge: TeacherSettings, folder: Path) -> bool:
    """Say what grading costs at most; whether that is money, or text that leaves this machine."""
    from pediatricsgpt.evaluation.rubrics.grade import forecast
    from pediatricsgpt.evaluation.rubrics.run import answers_folder

    cost, known = forecast(answered.items, answered.answers, judge, answers_folder(folder, judge))
    priced = judge.price_input or judge.price_output
    money = f"at most {cost.money:,.2f} {cost.currency}" if priced else "no price given"
    paid = f" ({known:,} more are paid for already)" if known else ""
    errors.print(
        f"grader {judge.model}: {cost.requests:,} requests{paid} for {len(answered.items)} items, about "
        f"{cost.input_tokens:,} tokens in and at most {cost.output_tokens:,} out, {money}",
        highlight=False,
        soft_wrap=True,
    )
    return bool(cost.requests and (cost.money or judge.external))


def _check_leave(judge: TeacherSettings, yes: bool) -> None:
    """Nothing is paid, and nothing leaves this machine, without a word of the user."""
    if judge.external and not judge.allow_external:
        raise UserError(f"{judge.base_url} is not on this machine; agree with --allow-external", "--api")
    if yes:
        return
    if not sys.stdin.isatty():
        raise UserError("this costs money or leaves this machine; agree with --yes", "--yes")
    typer.confirm("Go on?", abort=True, err=True)


def _print(found: dict[str, Any]) -> None:
    from rich.table import Table

    _plain(f"{found['model']}, graded by {found['judge']['model']}; {found['n']} items")
    _plain(f"score            {_interval(found['score'])}")
    _plain(f"without vetoes   {_interval(found['healthbench_score'])}  (as HealthBench has it)")
    _plain(f"vetoed items     {found['vetoed']['items']} of {found['n']}: {_interval(found['vetoed']['share'])}")
    table = Table("theme, weakest first", "n", "score", "vetoed", box=None, pad_edge=False)
    for theme, one in found["themes"].items():
        table.add_row(theme, str(one["n"]), _interval(one["score"], with_n=False), str(one["vetoed"]))
    console.print(table)
    for warning in found["warnings"]:
        errors.print(f"[yellow]note:[/yellow] {warning}", highlight=False, soft_wrap=True)


def _interval(one: dict[str, Any] | None, with_n: bool = True) -> str:
    if one is None:
        return "no grade"
    n = f", n = {one['n']}" if with_n else ""
    return f"{one['mean']:.3f} ({one['low']:.3f} to {one['high']:.3f}{n})"


def _head(found: RubricSet) -> None:
    head = found.head()
    _plain(f"{head['name']} version {head['version']}, {head['licence']}, sha256 {head['sha256'][:12]}")
    if found.note or head["note"]:
        _plain("；".join(filter(None, (head["note"], found.note))))


def _plain(line: str) -> None:
    console.print(line, markup=False, highlight=False, soft_wrap=True)
