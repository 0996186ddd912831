"""One endpoint from the command line: the options that every command with a model at an address shares."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pediatricsgpt.errors import UserError

if TYPE_CHECKING:
    from pediatricsgpt.endpoint.settings import TeacherSettings
    from pediatricsgpt.models.answers import Answerer
    from pediatricsgpt.models.engine import Sampling
    from pediatricsgpt.models.load import Loaded

Api = Annotated[
    str | None, typer.Option("--api", help="An OpenAI-compatible address, up to and with /v1.", show_default=False)
]
ApiModel = Annotated[str | None, typer.Option("--model", help="The model's name at that address.", show_default=False)]
KeyEnv = Annotated[
    str | None, typer.Option("--key-env", help="Environment variable that holds the key.", show_default=False)
]
AllowExternal = Annotated[
    bool,
    typer.Option(
        "--allow-external", help="Questions and answers may leave this machine; see to it that no patient is in them."
    ),
]
Concurrency = Annotated[int, typer.Option("--concurrency", min=1, help="Requests on their way at one time.")]
MaxTokens = Annotated[int, typer.Option("--max-tokens", min=1, help="Longest answer, in tokens.")]
RequestsPerMinute = Annotated[
    float | None, typer.Option("--requests-per-minute", min=0.01, help="Rate limit.", show_default=False)
]
Timeout = Annotated[
    float, typer.Option("--timeout", min=1, help="Seconds until a request counts as failed; more for a slow server.")
]
PriceInput = Annotated[float, typer.Option("--price-input", min=0, help="Price of a million input tokens.")]
PriceOutput = Annotated[float, typer.Option("--price-output", min=0, help="Price of a million output tokens.")]
Currency = Annotated[str, typer.Option("--currency", help="Currency of the prices.")]
BudgetTokens = Annotated[
    int | None, typer.Option("--budget-tokens", min=1, help="Stop before more tokens are paid for.", show_default=False)
]
BudgetMoney = Annotated[
    float | None, typer.Option("--budget-money", min=0.0001, help="The same in money.", show_default=False)
]
Repairs = Annotated[
    int, typer.Option("--repairs", min=0, help="How often an answer in a wrong form is asked for again.")
]
OnlyEstimate = Annotated[bool, typer.Option("--estimate", help="Say what it will cost, and ask nothing.")]
Yes = Annotated[bool, typer.Option("--yes", help="Pay without being asked again.")]
Names = Annotated[str | None, typer.Option("--names", help="Names of the two models: A,B.", show_default=False)]

_OPTIONS = {"base_url": "--api", "model": "--model"}


def settings_of(
    api: str | None,
    model: str | None,
    key_env: str | None = None,
    allow_external: bool = False,
    concurrency: int = 4,
    **others: Any,
) -> TeacherSettings:
    """The settings of one endpoint.

    Args:
        api: its address.
        model: the model's name there.
        key_env: environment variable that holds the key.
        allow_external: whether text may leave this machine.
        concurrency: requests on their way at one time.
        others: further fields of `TeacherSettings` by their names (temperature, max_tokens, budget_tokens, …).

    Raises:
        UserError: the address or the model is missing, or a value is not as it must be; the option is named.
    """
    from pydantic import ValidationError

    from pediatricsgpt.endpoint.settings import TeacherSettings

    if not api:
        raise UserError("an address is needed, for example --api http://127.0.0.1:8000/v1", "--api")
    if not model:
        raise UserError(f"which model at {api}? Name it with --model", "--model")
    given = {"key_env": key_env, "allow_external": allow_external, "concurrency": concurrency, **others}
    try:
        return TeacherSettings(base_url=api, model=model, **given)
    except ValidationError as error:
        first = error.errors()[0]
        field = str(first["loc"][0]) if first["loc"] else ""
        option = _OPTIONS.get(field, f"--{field.replace('_', '-')}")
        raise UserError(first["msg"].removeprefix("Value error, "), option) from error


def check_may_leave(
    settings: TeacherSettings,
    setting: str = "--allow-external",
    texts: str = "questions and answers",
    option: str = "--api",
) -> None:
    """Find out before any work whether text may go to this address.

    Args:
        settings: of the endpoint.
        setting: what allows it, in the words of where it stands.
        texts: what would go there.
        option: that gave the address.

    Raises:
        UserError: the address is not on this machine, and nobody has allowed that.
    """
    if settings.external and not settings.allow_external:
        raise UserError(
            f"{settings.base_url} is not on this machine; if no patient is in the {texts}, allow it with {setting}",
            option,
        )


def check_one_model(model: str | None, api: str | None, of_api: Mapping[str, str | None], or_else: str = "") -> None:
    """A command asks one model: a folder or hub id, or one at an address.

    Args:
        model: a folder or hub id.
        api: an address.
        of_api: options that go with an address alone, and their values.
        or_else: what else the command takes in their place, for the message.

    Raises:
        UserError: none is named, or both are, or an option has no address that it belongs to.
    """
    if (model is None) == (api is None):
        raise UserError(f"name one model: a folder or hub id, or an address with --api and --model{or_else}", "MODEL")
    given = [option for option, value in of_api.items() if value is not None]
    if api is None and given:
        raise UserError("this belongs to an address; name it with --api", given[0])


def opened(
    model: str | None, remote: TeacherSettings | None, sampling: Sampling, batch_size: int, paid: Path
) -> AbstractContextManager[tuple[Answerer, Loaded | None]]:
    """The model that a command asks, on this machine or at an address.

    Args:
        model: a folder or hub id, where there is no address.
        remote: the address; who allows text to leave this machine has said that no patient is in it.
        sampling: how it answers.
        batch_size: prompts that a local model answers together.
        paid: folder of the paid answers of an address.
    """
    from pediatricsgpt.models.remote import open_model

    allowed = remote is not None and remote.allow_external
    return open_model(remote or str(model), sampling, batch_size, cache_folder=paid, deidentified=allowed)


def ask_to_pay() -> None:
    """Nothing is paid, and nothing leaves this machine, without a word of the user."""
    if not sys.stdin.isatty():
        raise UserError("this costs money or leaves this machine; agree with --yes", "--yes")
    typer.confirm("Go on?", abort=True, err=True)


def two_names(names: str | None) -> tuple[str, str] | None:
    """What `--names` says, if anything."""
    if names is None:
        return None
    parts = [part.strip() for part in names.split(",")]
    if len(parts) != 2 or not all(parts) or parts[0] == parts[1]:
        raise UserError(
            f"expected two names that differ, with a comma between them, for example ours,base, not '{names}'",
            "--names",
        )
    return parts[0], parts[1]
