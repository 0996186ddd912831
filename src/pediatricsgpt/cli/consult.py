"""Simulated consultations with any model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pediatricsgpt.cli import endpoints
from pediatricsgpt.cli.common import console, errors
from pediatricsgpt.errors import UserError

if TYPE_CHECKING:
    from pediatricsgpt.endpoint import TeacherSettings
    from pediatricsgpt.models.answers import Answerer

_PAID = "model.paid"
_LABELS = {
    "facts_elicited": "facts elicited",
    "asked_age": "asked for the age",
    "asked_weight": "asked for the weight",
    "asked_duration": "asked for the duration",
    "asked_danger_signs": "danger signs asked",
    "danger_recognised": "danger recognised",
    "turns_to_danger": "turns until then",
    "urgent_without_danger": "called urgent without danger",
    "premature_closure": "closed too early",
    "diagnosis_hit": "diagnosis hit",
    "acceptable_hit": "diagnosis or accepted differential",
    "turns": "turns",
}
_COUNTS = ("turns", "turns_to_danger")

AnyModel = Annotated[
    str | None,
    typer.Argument(help="A run's phase folder (runs/demo/sft), a model folder or a hub id.", show_default=False),
]
Out = Annotated[Path, typer.Option("--out", help="The folder to write transcripts and scores to.", show_default=False)]
Cards = Annotated[
    Path | None, typer.Option("--cards", help="A folder of your own cards (YAML).", show_default="the packaged ones")
]
MaxCards = Annotated[int | None, typer.Option("--max-cards", min=1, help="Cards at most.", show_default="all")]
MaxTurns = Annotated[int, typer.Option("--max-turns", min=1, help="Turns of the model at most.")]
MaxNewTokens = Annotated[int, typer.Option(min=1, help="Longest turn of the model, in tokens.")]
BatchSize = Annotated[int, typer.Option(min=1, help="Consultations that a local model answers together.")]
CaregiverApi = Annotated[
    str | None,
    typer.Option("--caregiver-api", help="An address that plays the caregiver.", show_default="by rules"),
]
CaregiverModel = Annotated[
    str | None, typer.Option("--caregiver-model", help="The model's name at that address.", show_default=False)
]
CaregiverKeyEnv = Annotated[
    str | None, typer.Option("--caregiver-key-env", help="Environment variable with its key.", show_default=False)
]
FailedAsEmpty = Annotated[
    bool, typer.Option("--failed-as-empty", help="Turns that the server will not answer count as empty turns.")
]


def consult(
    out: Out,
    model: AnyModel = None,
    api: endpoints.Api = None,
    api_model: endpoints.ApiModel = None,
    key_env: endpoints.KeyEnv = None,
    allow_external: endpoints.AllowExternal = False,
    concurrency: endpoints.Concurrency = 4,
    caregiver_api: CaregiverApi = None,
    caregiver_model: CaregiverModel = None,
    caregiver_key_env: CaregiverKeyEnv = None,
    cards: Cards = None,
    max_cards: MaxCards = None,
    max_turns: MaxTurns = 10,
    max_new_tokens: MaxNewTokens = 256,
    batch_size: BatchSize = 16,
    failed_as_empty: FailedAsEmpty = False,
) -> None:
    """Let a model lead consultations: a simulated caregiver answers from a card that the model does not see.

    A killed run goes on where it was.
    """
    from pediatricsgpt.evaluation.consultation import read_cards

    remote = _chosen(model, api, api_model, key_env, allow_external, concurrency)
    played_by = _caregiver_settings(caregiver_api, caregiver_model, caregiver_key_env, allow_external, concurrency)
    number = len(read_cards(cards, max_cards))  # a card that is wrong is said before a model is loaded
    _check_folder(out)
    from pediatricsgpt.evaluation.consultation import measure
    from pediatricsgpt.evaluation.settings import ConsultationSettings
    from pediatricsgpt.progress import progress

    settings = ConsultationSettings(
        caregiver=played_by, cards=None if cards is None else str(cards), max_cards=max_cards, max_turns=max_turns
    )
    name = remote.model if remote else str(model)
    opened = _opened(model, remote, max_new_tokens, batch_size, out)
    with opened as engine, progress(console, "consulting", number) as advance:
        found = measure(engine, name, settings, out, advance=advance, failed_as_empty=failed_as_empty)
    _tell(found, out)


def _chosen(
    model: str | None,
    api: str | None,
    api_model: str | None,
    key_env: str | None,
    allow_external: bool,
    concurrency: int,
) -> TeacherSettings | None:
    """The model's address; None where it is on this machine."""
    if (model is None) == (api is None):
        raise UserError("name one model: a folder or hub id, or an address with --api and --model", "MODEL")
    if api is None:
        for option, value in (("--model", api_model), ("--key-env", key_env)):
            if value is not None:
                raise UserError("this belongs to an address; name it with --api", option)
        return None
    settings = endpoints.settings_of(api, api_model, key_env, allow_external, concurrency)
    _may_leave(settings, "--api")
    return settings


def _caregiver_settings(
    api: str | None, model: str | None, key_env: str | None, allow_external: bool, concurrency: int
) -> TeacherSettings | None:
    if api is None:
        for option, value in (("--caregiver-model", model), ("--caregiver-key-env", key_env)):
            if value is not None:
                raise UserError("this belongs to a caregiver at an address; name it with --caregiver-api", option)
        return None
    if model is None:
        raise UserError(f"which model at {api}? Name it with --caregiver-model", "--caregiver-model")
    try:
        settings = endpoints.settings_of(api, model, key_env, allow_external, concurrency, temperature=0.0)
    except UserError as error:
        where = str(error.where)
        raise UserError(error.message, f"--caregiver-{where.removeprefix('--')}") from error
    _may_leave(settings, "--caregiver-api")
    return settings


def _may_leave(settings: TeacherSettings, option: str) -> None:
    if settings.external and not settings.allow_external:
        raise UserError(
            f"{settings.base_url} is not on this machine; if no patient is in the cards, allow it with "
            "--allow-external",
            option,
        )


def _check_folder(out: Path) -> None:
    if out.exists() and not out.is_dir():
        raise UserError("this is a file; name a folder", out)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot be made: {error.strerror}; name a folder that can", out) from error


@contextmanager
def _opened(
    model: str | None, remote: TeacherSettings | None, max_new_tokens: int, batch_size: int, out: Path
) -> Iterator[Answerer]:
    from pediatricsgpt.cli.generate import quiet

    quiet()
    from pediatricsgpt.models.engine import Sampling
    from pediatricsgpt.models.remote import open_model

    allowed = remote is not None and remote.allow_external
    chosen = remote or str(model)
    with open_model(chosen, Sampling(max_new_tokens), batch_size, cache_folder=out / _PAID, deidentified=allowed) as (
        engine,
        _,
    ):
        yield engine


def _tell(found: Mapping[str, Any], out: Path) -> None:
    from rich.table import Table

    table = Table(
        "", "mean", "95 % interval", "n", title=f"{found['cards']} consultations, caregiver: {found['caregiver']}"
    )
    for name, label in _LABELS.items():
        value = found["measures"][name]
        if value is None:
            table.add_row(label, "-", "-", "0")
            continue
        shown = [f"{value[end]:.1f}" if name in _COUNTS else f"{value[end]:.0%}" for end in ("mean", "low", "high")]
        table.add_row(label, shown[0], f"{shown[1]} to {shown[2]}", str(value["n"]))
    console.print(table)
    replaced, cut = found["replaced"], found["cut_off"]
    if replaced["n"]:
        why = ", ".join(f"{reason} {count}" for reason, count in replaced["reasons"].items())
        _warn(
            f"{replaced['n']} of {replaced['of']} replies of the caregiver's model were replaced by the rules' ({why})"
        )
    if cut["n"]:
        _warn(
            f"{cut['n']} of {cut['of']} turns of the model were cut off, and with them perhaps a question; raise "
            "--max-new-tokens"
        )
    if found["unreviewed"]:
        _say(f"{found['unreviewed']} of {found['cards']} cards were not reviewed by a doctor (未经医生审核)")
    _say(f"{out / 'consultations.json'}; transcripts beside it")


def _say(text: str) -> None:
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def _warn(text: str) -> None:
    errors.print("[yellow]warning:[/yellow]", end=" ")
    errors.print(text, markup=False, highlight=False, soft_wrap=True)
