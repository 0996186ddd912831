"""Answers of a model to a file of questions: one on this machine, one at an address, or what one said elsewhere."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, get_args

import typer

from pediatricsgpt.cli import endpoints
from pediatricsgpt.cli.common import AnyModel, check_output, console, quiet, say, warn
from pediatricsgpt.errors import UserError

if TYPE_CHECKING:
    from pediatricsgpt.endpoint import Usage
    from pediatricsgpt.evaluation.benchmarks import Benchmark as Questions
    from pediatricsgpt.evaluation.benchmarks import Item
    from pediatricsgpt.evaluation.settings import BenchmarkName
    from pediatricsgpt.models.answers import Account, Answerer

_PAID = ".paid"


Data = Annotated[Path, typer.Option("--data", help="The questions; see --benchmark.", show_default=False)]
Out = Annotated[Path, typer.Option("--out", help="The predictions file to write.", show_default=False)]
Given = Annotated[
    Path | None,
    typer.Option(
        "--answers",
        help="Answers that were given elsewhere (id and prediction, or dialogues): nothing is asked; they are "
        "written beside the questions and references of --benchmark, for score, judge and compare; --model names who "
        "gave them.",
        show_default=False,
    ),
]
AllowMissing = Annotated[
    bool, typer.Option("--allow-missing", help="With --answers: leave out items that have none, with their count.")
]
Benchmark = Annotated[
    str | None,
    typer.Option(
        help="A benchmark's name, which decides how --data is read (own: your own with references or options); without "
        "it, JSON lines with messages or question.",
        show_default=False,
    ),
]
MaxItems = Annotated[
    int | None, typer.Option(min=1, help="Items at most, chosen by a hash of their ids.", show_default=False)
]
MaxNewTokens = Annotated[int, typer.Option(min=1, help="Longest answer, in tokens.")]
Temperature = Annotated[float, typer.Option(min=0, max=2, help="0: always the likeliest word.")]
Seed = Annotated[int, typer.Option(help="Of what is drawn above temperature 0: same seed, same answers.")]
BatchSize = Annotated[int, typer.Option(min=1, help="Prompts that a local model answers together.")]
SkipTooLong = Annotated[
    bool, typer.Option("--skip-too-long", help="Leave out dialogues longer than the model's window.")
]
FailedAsEmpty = Annotated[
    bool, typer.Option("--failed-as-empty", help="Questions that the server will not answer count as empty answers.")
]


def generate(
    data: Data,
    out: Out,
    model: AnyModel = None,
    api: endpoints.Api = None,
    api_model: endpoints.ApiModel = None,
    key_env: endpoints.KeyEnv = None,
    allow_external: endpoints.AllowExternal = False,
    concurrency: endpoints.Concurrency = 4,
    given: Given = None,
    requests_per_minute: endpoints.RequestsPerMinute = None,
    timeout: endpoints.Timeout = 120.0,
    budget_tokens: endpoints.BudgetTokens = None,
    budget_money: endpoints.BudgetMoney = None,
    price_input: endpoints.PriceInput = 0.0,
    price_output: endpoints.PriceOutput = 0.0,
    currency: endpoints.Currency = "CNY",
    benchmark: Benchmark = None,
    max_items: MaxItems = None,
    max_new_tokens: MaxNewTokens = 256,
    temperature: Temperature = 0.0,
    seed: Seed = 0,
    batch_size: BatchSize = 16,
    skip_too_long: SkipTooLong = False,
    failed_as_empty: FailedAsEmpty = False,
    allow_missing: AllowMissing = False,
) -> None:
    """Answer every item of a file, with a model or, with --api, at an address. A killed run goes on where it was.

    With --answers, what a model said elsewhere is written in the same form.
    """
    if given is not None:
        _join(given, data, benchmark, max_items, out, api_model, allow_missing, {"MODEL": model, "--api": api})
        return
    if allow_missing:
        raise UserError("this belongs to --answers; without it every item is asked", "--allow-missing")
    of_api = {"--model": api_model, "--key-env": key_env}
    endpoints.check_one_model(model, api, of_api, ", or with --answers what one said elsewhere")
    remote = None
    if api is not None:
        money = {"budget_money": budget_money, "price_input": price_input, "price_output": price_output}
        others = {
            "requests_per_minute": requests_per_minute,
            "budget_tokens": budget_tokens,
            "currency": currency,
            "timeout": timeout,
        }
        remote = endpoints.settings_of(api, api_model, key_env, allow_external, concurrency, **money, **others)
        endpoints.check_may_leave(remote, texts="questions")
    items = _items(data, benchmark, max_items)
    check_output(out)
    quiet()
    from pediatricsgpt.models.engine import Sampling

    sampling = Sampling(max_new_tokens, temperature, seed=seed)
    with endpoints.opened(model, remote, sampling, batch_size, out.with_name(out.name + _PAID)) as (engine, _):
        fitting = _fitting(engine, items, skip_too_long)
        account = _answer(engine, fitting, out, remote.model if remote else str(model), failed_as_empty)
        _tell(account, out, len(items) - len(fitting), max_new_tokens)
        _tell_costs(engine)


def _join(
    given: Path,
    data: Path,
    benchmark: str | None,
    max_items: int | None,
    out: Path,
    name: str | None,
    allow_missing: bool,
    others: Mapping[str, str | None],
) -> None:
    """Write answers that were given elsewhere as a predictions file."""
    for option, value in others.items():
        if value is not None:
            raise UserError("--answers gives the answers, so no model is asked; leave one of the two out", option)
    if benchmark is None:
        raise UserError(
            "--answers needs the benchmark that they are to: name it (own: a file of your own with references)",
            "--benchmark",
        )
    from pediatricsgpt.evaluation.answering import join_answers
    from pediatricsgpt.evaluation.given import given_answers

    questions = _questions(data, benchmark, max_items)
    check_output(out)
    if out.resolve() == given.resolve():
        raise UserError("this is the file of --answers; name another one", "--out")
    found = given_answers(given, questions, allow_missing)
    account = join_answers(questions.items, found.answers, out, name or given.stem)
    parts = {
        "empty": account.empty,
        "items have none": found.missing,
        "to items that the benchmark lacks": found.unknown,
    }
    said = "".join(f", {count} {what}" for what, count in parts.items() if count)
    say(f"{account.answers} answers of {name or given.stem}{said}: {out}")


def _items(data: Path, benchmark: str | None, max_items: int | None) -> list[Item]:
    """The items of a file: of one's own, or of a benchmark's in its own form; at most so many."""
    from pediatricsgpt.evaluation.benchmarks import read_items, spread_items

    if benchmark is None:
        _refuse_list(data)
        items = read_items(data)
        _warn_of_ids(items)
        chosen = {id(item) for item in spread_items(items)[:max_items]}
        return [item for item in items if id(item) in chosen]
    return _questions(data, benchmark, max_items).items


def _questions(data: Path, benchmark: str, max_items: int | None) -> Questions:
    from pediatricsgpt.evaluation.benchmarks import load_benchmark
    from pediatricsgpt.evaluation.settings import BenchmarkSettings

    settings = BenchmarkSettings(name=_benchmark_name(benchmark), path=str(data))
    found = load_benchmark(settings, Path(), max_items)
    dropped = "".join(f", {count} {reason}" for reason, count in (found.dropped | found.left_out).items())
    say(f"{found.title}: {found.read} rows, {len(found.items)} items{dropped}")
    return found


def _refuse_list(data: Path) -> None:
    """A benchmark's own file without its name would else be told to be no JSON."""
    if not data.is_file():
        return
    with data.open("rb") as file:
        if file.read(1024).lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"["):
            raise UserError(
                "this is one JSON list, not a JSON object a line; if it is a benchmark's file, name that with "
                "--benchmark (own: questions of your own)",
                data,
            )


def _warn_of_ids(items: Sequence[Item]) -> None:
    twice = [name for name, count in Counter(item.id for item in items).items() if count > 1]
    if twice:
        warn(
            f"{len(twice)} ids stand in several lines (the first: {twice[0]}); what compares "
            "models by their items will refuse such a file"
        )


def _benchmark_name(name: str) -> BenchmarkName:
    from pediatricsgpt.evaluation.settings import BenchmarkName

    known: dict[str, BenchmarkName] = {each: each for each in get_args(BenchmarkName)}
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}"
        raise UserError(f"no benchmark '{name}'; {hint}", "--benchmark")
    return known[name]


def _fitting(engine: Answerer, items: Sequence[Item], skip: bool) -> list[Item]:
    from pediatricsgpt.evaluation.answering import asked

    fits = [engine.fits(asked(item)) for item in items]
    if not any(fits):
        raise UserError("every dialogue is longer than the model's window; lower --max-new-tokens")
    if not skip and not all(fits):
        raise UserError(
            f"{fits.count(False)} of {len(items)} dialogues are longer than the model's window (the first: "
            f"{items[fits.index(False)].id}); leave them out with --skip-too-long, or lower --max-new-tokens"
        )
    return [item for item, fitting in zip(items, fits, strict=True) if fitting]


def _answer(engine: Answerer, items: Sequence[Item], out: Path, name: str, failed_as_empty: bool) -> Account:
    from pediatricsgpt.evaluation.answering import answer_items
    from pediatricsgpt.manifest import disk_errors
    from pediatricsgpt.models.answers import Unanswered
    from pediatricsgpt.progress import progress

    with disk_errors(out), progress(console, "answering", len(items)) as advance:
        try:
            return answer_items(engine, items, out, name, advance, failed_as_empty)
        except Unanswered as error:
            error.message += ", or counts them as empty with --failed-as-empty"
            raise


def _tell(account: Account, out: Path, too_long: int, max_new_tokens: int) -> None:
    parts = {
        "without an answer, counted as empty": account.failed,
        "empty": account.empty - account.failed,
        f"cut off at {max_new_tokens} tokens": account.cut_off,
        "left out, longer than the window": too_long,
    }
    said = "".join(f", {count} {what}" for what, count in parts.items() if count)
    say(f"{account.answers} answers{said}: {out}")
    from pediatricsgpt.evaluation.answering import right_by_letter

    if (found := right_by_letter(out)) is not None:
        share, unreadable = found
        say(
            f"right by letter: {share.mean:.1%} (95 % interval {share.low:.1%} to {share.high:.1%}, n = {share.n}; "
            f"{unreadable} unreadable, which count as wrong)"
        )


def _tell_costs(engine: Answerer) -> None:
    from pediatricsgpt.models.remote import RemoteEngine

    if not isinstance(engine, RemoteEngine):
        return
    usage: Usage = engine.endpoint.usage
    money = f", {usage.money:.4f} {usage.currency}" if usage.money else ""
    say(
        f"{usage.requests} requests, {usage.cached} answers from before, {usage.input_tokens} tokens in and "
        f"{usage.output_tokens} out{money}"
    )
