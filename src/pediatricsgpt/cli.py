"""The command line: parses, calls, prints. Heavy imports stand inside the commands, so that help comes at once."""

from __future__ import annotations

import codecs
import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from pediatricsgpt import __version__
from pediatricsgpt.errors import UserError

if TYPE_CHECKING:
    from pediatricsgpt.recipe import Recipe
    from pediatricsgpt.run import Run

app = typer.Typer(
    name="pedgpt",
    help="PediatricsGPT: from pediatric sources and a Chinese base model to an answering, measured model.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
corpus_app = typer.Typer(help="Build PedCorpus and look into it.", no_args_is_help=True)
train_app = typer.Typer(help="Train one phase (and what it needs, where that is not up to date).", no_args_is_help=True)
recipe_app = typer.Typer(help="List, show and check recipes.", no_args_is_help=True)
app.add_typer(corpus_app, name="corpus")
app.add_typer(train_app, name="train")
app.add_typer(recipe_app, name="recipe")

console = Console()
errors = Console(stderr=True)

RecipeFile = Annotated[Path, typer.Argument(help="A recipe (YAML).", show_default=False)]
Set = Annotated[list[str] | None, typer.Option("--set", help="Change a setting: --set sft.max_length=512.")]
Name = Annotated[str | None, typer.Option("--name", help="Another name for the run: results go to RUNS/NAME.")]
Runs = Annotated[Path, typer.Option("--runs", help="The folder that holds the runs.")]
RunFolder = Annotated[Path, typer.Argument(help="A run's folder, for example runs/demo.", show_default=False)]
Model = Annotated[
    str, typer.Argument(help="A run's phase folder (runs/demo/sft), a model folder or a hub id.", show_default=False)
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]


_STOPPED = 130  # what a shell gives a program that Ctrl-C ended


def main() -> None:
    """Entry point of `pedgpt`: a user's mistake is one line and exit code 2, anything else a failure (1)."""
    debug = "--debug" in sys.argv
    sys.argv = [argument for argument in sys.argv if argument != "--debug"]
    _speak_chinese()
    try:
        code = app(standalone_mode=False)  # Typer's own handling would end a stopped run without a word
    except (KeyboardInterrupt, typer.Abort):
        code = _STOPPED
    except UserError as error:
        if debug:
            raise
        _fail(str(error), 2)
    except Exception as error:
        if hasattr(error, "exit_code") and hasattr(error, "show"):  # a wrong option or command, which Typer words well
            error.show()
            sys.exit(error.exit_code)
        if debug:
            raise
        _fail(f"{type(error).__name__}: {error} (this is a bug; --debug shows where)", 1)
    if code == _STOPPED:
        _fail("stopped; the same command goes on where it was", _STOPPED)
    sys.exit(code if isinstance(code, int) else 0)


def _speak_chinese() -> None:
    """No text that we print ends a command, whatever the terminal's encoding: ASCII becomes UTF-8, else `?` stands."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            ascii_only = codecs.lookup(stream.encoding).name == "ascii"
            stream.reconfigure(encoding="utf-8" if ascii_only else None, errors="replace")


def _fail(message: str, code: int) -> None:
    errors.print("[bold red]error:[/bold red]", end=" ")
    errors.print(" ".join(message.split()), markup=False, highlight=False, soft_wrap=True)
    sys.exit(code)


def _version(value: bool) -> None:
    if value:
        typer.echo(f"pedgpt {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the whole traceback of an error.")] = False,
) -> None:
    del version, debug  # handled before: --debug may stand anywhere


# -- whole runs ------------------------------------------------------------------------------------------------------


def _load(recipe_file: Path, changes: list[str] | None, name: str | None) -> Recipe:
    from pediatricsgpt.recipe import load_recipe

    return load_recipe(recipe_file, [*(changes or []), *([f"name={name}"] if name else [])])


def _open(recipe_file: Path, changes: list[str] | None, name: str | None, runs: Path) -> Run:
    from pediatricsgpt import graph
    from pediatricsgpt.run import Run

    recipe = _load(recipe_file, changes, name)
    nodes = graph.build(recipe, recipe_file.parent)
    return Run(recipe, recipe_file.parent, runs / recipe.name, nodes, console)


@app.command()
def run(
    recipe: RecipeFile,
    start: Annotated[str | None, typer.Option("--from", help="Redo this stage and all that follows from it.")] = None,
    until: Annotated[str | None, typer.Option("--until", help="Stop after this stage.")] = None,
    changes: Set = None,
    name: Name = None,
    runs: Runs = Path("runs"),
) -> None:
    """Run a whole recipe: corpus, four phases, evaluation, report. What is up to date is skipped."""
    from pediatricsgpt.recipe import check_paths

    work = _open(recipe, changes, name, runs)
    if start:
        work.force(start)
    nodes = work.select([until]) if until else work.nodes
    if not until:
        check_paths(work.recipe, work.recipe_folder)  # rather now than after an hour of what comes before
    _execute(work, [node.name for node in nodes])
    if not until:
        _finish(work)


def _execute(work: Run, names: list[str]) -> list[str]:
    from pediatricsgpt.run import opened

    with opened(work.folder):
        work.write_recipe()
        worked = work.execute([node for node in work.nodes if node.name in names])
    if not worked:
        console.print(f"nothing to do: {work.folder} is up to date", highlight=False, soft_wrap=True)
    return worked


def _finish(work: Run) -> None:
    from pediatricsgpt.evaluation.compare import answers_to_one_question
    from pediatricsgpt.evaluation.report import write_report
    from pediatricsgpt.manifest import disk_errors

    with disk_errors(work.folder):
        path = write_report(work.folder)
    for title, text in answers_to_one_question(work.folder):
        console.print(f"[bold]{title}[/bold]  ", end="")
        console.print(text, markup=False, highlight=False, soft_wrap=True)
    console.print(f"report: {path}", highlight=False, soft_wrap=True)


@app.command()
def plan(recipe: RecipeFile, changes: Set = None, name: Name = None, runs: Runs = Path("runs")) -> None:
    """Show what would run, with rows, tokens, memory and time, before anything starts."""
    from pediatricsgpt.plan import render
    from pediatricsgpt.recipe import check_paths

    work = _open(recipe, changes, name, runs)
    check_paths(work.recipe, work.recipe_folder)
    console.print(render(work, console.width))


@app.command()
def report(run_folder: RunFolder) -> None:
    """Write a run's report again, from its files."""
    from pediatricsgpt.evaluation.report import write_report
    from pediatricsgpt.manifest import disk_errors

    _check_run(run_folder)
    with disk_errors(run_folder):
        console.print(f"report: {write_report(run_folder)}", highlight=False, soft_wrap=True)


def _check_run(folder: Path) -> None:
    if not (folder / "recipe.yaml").is_file():
        raise UserError("no run here (no recipe.yaml); give a folder such as runs/demo", folder)


# -- corpus ----------------------------------------------------------------------------------------------------------


@corpus_app.command("build")
def corpus_build(recipe: RecipeFile, changes: Set = None, name: Name = None, runs: Runs = Path("runs")) -> None:
    """Build the training sets and the held-out set from the sources."""
    work = _open(recipe, changes, name, runs)
    needed = {node.name for node in work.select(["corpus/card"])}
    worked = _execute(work, sorted(needed))
    if worked:
        console.print("the preference set needs this run's own SFT model: it is built by `run` or `train dfpo`")
    corpus_stats(work.folder)


@corpus_app.command("stats")
def corpus_stats(run_folder: RunFolder, as_json: Json = False) -> None:
    """Show what a built corpus holds and what was dropped."""
    from pediatricsgpt.corpus.look import statistics, statistics_tables

    found = statistics(run_folder)
    if as_json:
        typer.echo(json.dumps(found, ensure_ascii=False, indent=1))
    else:
        for table in statistics_tables(found):
            console.print(table)


@corpus_app.command("show")
def corpus_show(
    run_folder: RunFolder,
    row_id: Annotated[str | None, typer.Option("--id", help="One row, back to its file and line or page.")] = None,
    rejects: Annotated[bool, typer.Option("--rejects", help="What was dropped, with reasons.")] = False,
    which: Annotated[str, typer.Option("--set", help="cpt, sft, experts, preferences or held_out.")] = "experts",
    count: Annotated[int, typer.Option("-n", min=1, help="How many rows.")] = 5,
) -> None:
    """Show rows of a corpus, one row with its whole provenance, or what was rejected and why."""
    from pediatricsgpt.corpus import look

    if row_id:
        lines = look.lineage(run_folder, row_id)
    elif rejects:
        lines = look.rejects(run_folder, count)
    else:
        lines = look.rows(run_folder, which, count)
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)


# -- training --------------------------------------------------------------------------------------------------------


def _train_command(phase: str, text: str) -> Callable[..., None]:
    def command(recipe: RecipeFile, changes: Set = None, name: Name = None, runs: Runs = Path("runs")) -> None:
        work = _open(recipe, changes, name, runs)
        _execute(work, [node.name for node in work.select([phase])])
        console.print(f"model: {work.path(phase)}", highlight=False, soft_wrap=True)

    command.__doc__ = text
    return command


for _phase, _text in {
    "cpt": "Phase 1: continued pre-training on plain text and instructions as completions.",
    "sft": "Phase 2: full-parameter supervised fine-tuning.",
    "dfpo": "Phase 3: direct following preference optimisation.",
    "experts": "Phase 4: mixture of universal-specific experts on the three pediatric tasks.",
}.items():
    train_app.command(_phase)(_train_command(_phase, _text))


@app.command()
def preview(
    recipe: RecipeFile,
    phase: Annotated[str, typer.Argument(help="cpt, sft, dfpo or experts.", show_default=False)],
    count: Annotated[int, typer.Option("-n", min=1, help="How many rows.")] = 2,
    changes: Set = None,
    name: Name = None,
    runs: Runs = Path("runs"),
) -> None:
    """Show the exact tokens of some training samples; those that carry loss are green (bracketed off a terminal)."""
    from pediatricsgpt import graph
    from pediatricsgpt.models.load import tokenizer_of
    from pediatricsgpt.training.preview import render, samples

    if phase not in graph.PHASES:
        raise UserError(f"no phase '{phase}'; there are {', '.join(graph.PHASES)}")
    work = _open(recipe, changes, name, runs)
    data = work.path({"dfpo": "corpus/preferences"}.get(phase, f"corpus/{phase}")) / graph.ROWS
    if not data.is_file():
        command = (
            f"pedgpt run {recipe} --until corpus/preferences" if phase == "dfpo" else f"pedgpt corpus build {recipe}"
        )
        raise UserError(f"this set is not built yet; run: {command}", data)
    for sample in samples(phase, data, tokenizer_of(work.recipe.model, recipe.parent), count):
        console.rule(sample.heading)
        console.print(render(sample, brackets=not console.is_terminal))


# -- models and measures ---------------------------------------------------------------------------------------------


def _check_output(path: Path) -> None:
    """Find out before the work whether its result can be written."""
    if path.is_dir():
        raise UserError("this is a folder; name a file", path)
    probe = path.with_name(path.name + ".partial")
    try:
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise UserError(f"cannot be written: {error.strerror}; name a file in a folder that can", path) from error


@app.command()
def generate(
    model: Model,
    data: Annotated[Path, typer.Option("--data", help="JSON lines with messages or question.", show_default=False)],
    out: Annotated[Path, typer.Option("--out", help="The predictions file to write.", show_default=False)],
    max_new_tokens: Annotated[int, typer.Option(min=1, help="Longest answer, in tokens.")] = 256,
    batch_size: Annotated[int, typer.Option(min=1, help="Prompts that are generated together.")] = 16,
) -> None:
    """Answer every item of a file. A killed run goes on where it was."""
    from pediatricsgpt.evaluation.benchmarks import read_items
    from pediatricsgpt.manifest import disk_errors

    items = read_items(data)
    _check_output(out)
    _quiet()
    from pediatricsgpt.evaluation.evaluate import predict
    from pediatricsgpt.models.engine import Engine, Sampling
    from pediatricsgpt.models.load import load
    from pediatricsgpt.progress import progress

    engine = Engine(load(model), Sampling(max_new_tokens=max_new_tokens), batch_size)
    with disk_errors(out), progress(console, "answering", len(items)) as advance:
        predict(engine, items, out, model, advance)
    console.print(f"{len(items)} answers: {out}", highlight=False, soft_wrap=True)


def _quiet() -> None:
    import os

    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")


@app.command()
def score(
    file: Annotated[Path, typer.Argument(help="JSON lines with prediction and reference.", show_default=False)],
    profile: Annotated[str, typer.Option(help="paper (words cut by jieba) or char (characters).")] = "paper",
    out: Annotated[Path | None, typer.Option("--json", help="Also write all figures to this file.")] = None,
) -> None:
    """Score any predictions file: BLEU, GLEU, ROUGE, Distinct, each with n and a 95 % interval."""
    from pediatricsgpt.evaluation.scoring import render_table, score_file
    from pediatricsgpt.manifest import disk_errors, write_atomically
    from pediatricsgpt.progress import progress_of

    if out is not None:
        _check_output(out)
    with progress_of(errors, "scoring") as advance:
        found = score_file(file, profile, progress=advance)
    console.print(render_table(found))
    for warning in found.warnings:
        errors.print(f"[yellow]warning:[/yellow] {warning}", highlight=False)
    if out is not None:
        with disk_errors(out):
            write_atomically(out, json.dumps(found.to_dict(), ensure_ascii=False, indent=1) + "\n")


@app.command()
def chat(
    model: Model,
    ask: Annotated[
        str | None, typer.Option("--ask", help="One question; the answer is printed and that is all.")
    ] = None,
    max_new_tokens: Annotated[int, typer.Option(min=1, help="Longest answer, in tokens.")] = 256,
    temperature: Annotated[float, typer.Option(min=0, help="0: always the likeliest word.")] = 0.0,
) -> None:
    """Talk to a model in the terminal."""
    _quiet()
    from pediatricsgpt.models.engine import Engine, Sampling
    from pediatricsgpt.models.load import load
    from pediatricsgpt.serving import terminal

    engine = Engine(load(model), Sampling(max_new_tokens=max_new_tokens, temperature=temperature))
    errors.print(terminal.NOTICE, style="yellow", highlight=False)
    if ask is None:
        console.print(terminal.HELP, style="dim")
    lines = terminal.typed(console) if ask is None else iter([ask])
    terminal.chat(engine, lines, lambda text: console.print(text, end="", markup=False, highlight=False))


# -- recipes and the machine -----------------------------------------------------------------------------------------


@recipe_app.command("list")
def recipe_list(folder: Annotated[Path, typer.Argument(help="Where to look.")] = Path("recipes")) -> None:
    """List the recipes of a folder with their first line of comment."""
    files = sorted(folder.glob("*.yaml"))
    if not files:
        raise UserError("no recipes (*.yaml) here", folder)
    for file in files:
        first = file.read_text(encoding="utf-8", errors="replace").split("\n", 1)[0]
        console.print(f"{file}  {first.lstrip('# ') if first.startswith('#') else ''}", highlight=False, soft_wrap=True)


@recipe_app.command("show")
def recipe_show(
    recipe: Annotated[Path | None, typer.Argument(help="A recipe; none: every setting there is, explained.")] = None,
    changes: Set = None,
) -> None:
    """Show a recipe with all defaults filled in, or every setting with its meaning."""
    from pediatricsgpt.recipe import as_yaml, documentation

    if recipe is None:
        typer.echo("\n".join(documentation()))
    else:
        typer.echo(as_yaml(_load(recipe, changes, None)))


@recipe_app.command("check")
def recipe_check(recipe: RecipeFile, changes: Set = None) -> None:
    """Check a recipe and that every file that it names is there, without running anything."""
    from pediatricsgpt.recipe import check_paths

    checked = _load(recipe, changes, None)
    files = check_paths(checked, recipe.parent)
    console.print(
        f"{recipe}: good; {len(checked.corpus.sources)} sources, {files} files", highlight=False, soft_wrap=True
    )


@app.command()
def env(as_json: Json = False) -> None:
    """Show what this machine can do: versions, processors, memory, extras."""
    from pediatricsgpt.environment import describe

    facts = describe(Path())
    if as_json:
        typer.echo(json.dumps(facts, ensure_ascii=False, indent=1))
        return
    for name, value in facts.items():
        shown = ", ".join(f"{key} {item}" for key, item in value.items()) if isinstance(value, dict) else value
        console.print(f"[bold]{name.replace('_', ' ')}[/bold]: {shown}", highlight=False, soft_wrap=True)


if __name__ == "__main__":
    main()
