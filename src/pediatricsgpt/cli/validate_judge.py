"""Is a judge's opinion worth anything? Its verdicts against GPT-4's scores, or against doctors'."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pediatricsgpt.cli import endpoints
from pediatricsgpt.cli.common import Json, check_output, console, errors, interval, say, say_aside
from pediatricsgpt.errors import UserError

if TYPE_CHECKING:
    from pediatricsgpt.endpoint.settings import TeacherSettings
    from pediatricsgpt.evaluation.validation.reference import Reference

Against = Annotated[
    Path,
    typer.Option(
        "--against",
        help="A folder with the evaluation files of DISC-MedLLM (scores by GPT-4), or a table of verdicts by doctors "
        "(CSV or JSON lines).",
        show_default=False,
    ),
]
Out = Annotated[Path, typer.Option("--out", help="The file that results go to; those of other judges in it stay.")]
VerdictFiles = Annotated[
    list[Path] | None,
    typer.Option(
        "--verdicts", help="Verdicts that the judge has given already (verdicts.jsonl), instead of asking it."
    ),
]
AnswerFiles = Annotated[
    list[Path] | None,
    typer.Option("--answers", help="With doctors' verdicts and --api, twice: the answers that they compared."),
]
Map = Annotated[
    list[str] | None,
    typer.Option("--map", help="Whose dimension stands for which of the judge's; factuality=correctness if not given."),
]
MaxPairs = Annotated[
    int | None, typer.Option("--max-pairs", min=1, help="Pairs at most, chosen by a hash of their ids.")
]
Bar = Annotated[float, typer.Option("--bar", min=0, max=1, help="What the lower bound of kappa must exceed.")]


def validate_judge(
    against: Against,
    out: Out = Path("validation.json"),
    api: endpoints.Api = None,
    model: endpoints.ApiModel = None,
    verdicts: VerdictFiles = None,
    answers: AnswerFiles = None,
    names: endpoints.Names = None,
    mapping: Map = None,
    max_pairs: MaxPairs = None,
    bar: Bar = 0.2,
    key_env: endpoints.KeyEnv = None,
    allow_external: endpoints.AllowExternal = False,
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
    estimate: endpoints.OnlyEstimate = False,
    yes: endpoints.Yes = False,
    as_json: Json = False,
) -> None:
    """Compare a judge's verdicts with a reference: kappa, Gwet's AC1, Krippendorff's alpha, accuracy, with intervals.

    The judge is asked as `pedgpt judge` asks it, in both orders. Without a judge that passes here a report draws no
    conclusion from it. Stopped at any moment, the same command goes on where it was.
    """
    import json

    from pediatricsgpt.evaluation.validation.run import compare, read_validation, write_validation

    check_output(out)
    if out.exists():
        read_validation(out)
    reference = _reference(against, answers, names, mapping, max_pairs, bool(verdicts))
    if verdicts:
        if api:
            raise UserError("the verdicts are there already; leave out --api or --verdicts", "--api")
        entries = compare(reference, _verdicts(verdicts), bar)
    else:
        money = {"price_input": price_input, "price_output": price_output, "currency": currency}
        bounds = {"budget_tokens": budget_tokens, "budget_money": budget_money, "max_tokens": max_tokens}
        how = {"temperature": 0.0, "repairs": repairs, "requests_per_minute": requests_per_minute, "timeout": timeout}
        judge = endpoints.settings_of(api, model, key_env, allow_external, concurrency, **money, **bounds, **how)
        found = _ask(reference, judge, out, bar, estimate, yes)
        if found is None:
            return
        entries = {judge.model: found}
    content = write_validation(out, entries)
    if as_json:
        typer.echo(json.dumps(content, ensure_ascii=False, indent=1))
        return
    for rater, entry in entries.items():
        _show(rater, entry)
    say(f"written: {out}")


def _reference(
    against: Path,
    answers: list[Path] | None,
    names: str | None,
    mapping: list[str] | None,
    max_pairs: int | None,
    judged: bool,
) -> Reference:
    from pediatricsgpt.evaluation.judge.questions import read_pair
    from pediatricsgpt.evaluation.validation.labels import read_labels, reference_of
    from pediatricsgpt.evaluation.validation.reference import read_disc
    from pediatricsgpt.evaluation.validation.run import with_answers

    if against.is_dir():
        if judged or answers:
            raise UserError("scores by GPT-4 come with the answers; ask the judge with --api and --model", against)
        return read_disc(against, max_pairs)
    if not against.is_file():
        raise UserError("no such file or folder", against)
    reference = reference_of(read_labels(against), against.name, _mapping(mapping))
    if judged:
        return reference
    if len(answers or ()) != 2:
        raise UserError(
            "the judge must see the answers that were compared: give the predictions of both models, --answers A.jsonl "
            "--answers B.jsonl, or verdicts that it has given already with --verdicts",
            "--answers",
        )
    assert answers is not None
    return with_answers(
        reference, read_pair(answers[0], answers[1], endpoints.two_names(names), intersect=True), max_pairs
    )


def _ask(
    reference: Reference, judge: TeacherSettings, out: Path, bar: float, estimate: bool, yes: bool
) -> dict[str, Any] | None:
    from pediatricsgpt.evaluation.validation.run import ask, forecast_judge
    from pediatricsgpt.manifest import disk_errors, locked
    from pediatricsgpt.progress import progress

    folder = out.parent / f"{out.stem}-answers"
    cost = forecast_judge(reference, judge, folder)
    say_aside(f"{len(reference.pairs):,} pairs, each in both orders; {cost.line}")
    if estimate:
        return None
    endpoints.check_may_leave(judge)
    if cost.to_agree and not yes:
        endpoints.ask_to_pay()
    with (
        disk_errors(folder),
        locked(folder),
        progress(errors, f"asking {judge.model}", cost.cost.requests + cost.known) as advance,
    ):
        return ask(reference, judge, folder, bar, judge.allow_external, advance)


def _verdicts(files: list[Path]) -> list[Any]:
    from pediatricsgpt.evaluation.judge.verdicts import read_verdicts

    return [verdict for file in files for verdict in read_verdicts(file)]


def _mapping(given: list[str] | None) -> dict[str, str] | None:
    if not given:
        return None
    from pediatricsgpt.evaluation.judge.prompt import DIMENSIONS

    found = {}
    for one in given:
        theirs, _, ours = one.partition("=")
        if not theirs or ours not in DIMENSIONS:
            raise UserError(f"'{one}' is not THEIRS=OURS with one of {', '.join(DIMENSIONS)}", "--map")
        found[theirs] = ours
    return found


def _show(rater: str, entry: dict[str, Any]) -> None:
    from rich.table import Table

    on = "decided" if entry["basis"] == "decided" else "agreement"
    say(f"{rater} against {entry['against']}: {entry['pairs']} pairs")
    say(entry["what"])
    table = Table(box=None, pad_edge=False)
    for title in ("dimension", "n", "kappa", "AC1", "alpha", "accuracy", "ties"):
        table.add_column(title, no_wrap=title == "dimension")
    for name, one in [*entry["dimensions"].items(), ("overall", entry["overall"])]:
        found = one[on]
        numbers = [interval(found[kind], 2) for kind in ("kappa", "ac1", "alpha")]
        table.add_row(name, str(found["units"]), *numbers, interval(one["accuracy"], 2), str(one["ties"]))
    console.print(table)
    kind = "pairs that the reference decides" if on == "decided" else "all pairs, ties as a verdict of their own"
    say(f"kappa, AC1 and alpha on {kind}; n is their number; ties: pairs that the reference does not tell apart")
    for dimension, one in (entry["raters"] or {}).items():
        alpha = interval(one["alpha"], 2)
        say(f"the {one['raters']} raters among each other on {dimension}: alpha {alpha}, n = {one['units']}")
    verdict = f"passed on {entry['passed_on']}" if entry["passed"] else "not passed"
    say(f"{verdict}; the bar: {entry['bar']}")
