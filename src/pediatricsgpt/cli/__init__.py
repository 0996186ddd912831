"""The command line: parses, calls, prints. Heavy imports stand inside the commands, so that help comes at once."""

from __future__ import annotations

import codecs
import io
import logging
import sys
from typing import Annotated

import typer

from pediatricsgpt import __version__, processes
from pediatricsgpt.cli import (
    compare,
    consult,
    corpus,
    export,
    generate,
    judge,
    models,
    recipes,
    rubrics,
    runs,
    score,
    training,
    validate_judge,
)
from pediatricsgpt.cli.common import errors
from pediatricsgpt.errors import UserError

app = typer.Typer(
    name="pedgpt",
    help="PediatricsGPT: from pediatric sources and a Chinese base model to an answering, measured model.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
app.add_typer(corpus.app, name="corpus")
app.add_typer(training.app, name="train")
app.add_typer(rubrics.app, name="rubrics")
app.add_typer(recipes.app, name="recipe")
for _command in (
    runs.run,
    runs.plan,
    runs.report,
    training.preview,
    generate.generate,
    score.score,
    judge.judge,
    validate_judge.validate_judge,
    consult.consult,
    compare.compare,
    models.chat,
    export.export,
    recipes.env,
):
    app.command(_command.__name__.replace("_", "-"))(_command)

_STOPPED = 130  # what a shell gives a program that Ctrl-C ended


def main() -> None:
    """Entry point of `pedgpt`: a user's mistake is one line and exit code 2, anything else a failure (1)."""
    debug = "--debug" in sys.argv
    sys.argv = [argument for argument in sys.argv if argument != "--debug"]
    _speak_chinese()
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # at import it warns of kernels that it would download
    try:
        with processes.watched(_tell):
            code = app(standalone_mode=False)  # Typer's own handling would end a stopped run without a word
    except (KeyboardInterrupt, typer.Abort):
        code = _STOPPED
    except UserError as error:
        if debug:
            raise
        _fail(str(error), error.exit_code)
    except Exception as error:
        if hasattr(error, "exit_code") and hasattr(error, "show"):  # a wrong option or command, which Typer words well
            error.show()
            sys.exit(error.exit_code)
        if debug:
            raise
        _fail(processes.lost() or f"{type(error).__name__}: {error} (this is a bug; --debug shows where)", 1)
    if code == _STOPPED:
        _fail("stopped; the same command goes on with what it has kept", _STOPPED)
    processes.leave()
    sys.exit(code if isinstance(code, int) else 0)


def _speak_chinese() -> None:
    """No text that we print ends a command, whatever the terminal's encoding: ASCII becomes UTF-8, else `?` stands."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            ascii_only = codecs.lookup(stream.encoding).name == "ascii"
            stream.reconfigure(encoding="utf-8" if ascii_only else None, errors="replace")


def _fail(message: str, code: int) -> None:
    if processes.may_speak():
        _tell(message)
    sys.exit(code)


def _tell(message: str) -> None:
    if processes.rank():
        message = f"process {processes.rank()} of {processes.count()}: {message}"
    from rich.text import Text

    # One write: what a launcher or another process prints at this moment must not fall into the line.
    line = Text.assemble(("error:", "bold red"), " ", " ".join(message.split()))
    errors.print(line, highlight=False, soft_wrap=True)


def _version(value: bool) -> None:
    if value:
        typer.echo(f"pedgpt {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the whole traceback of an error.")] = False,
) -> None:
    del version, debug  # handled before: --debug may stand anywhere
    if processes.count() > 1 and context.invoked_subcommand not in ("train", "run"):
        raise UserError("several processes are for 'train' and 'run' alone; start this command without a launcher")
