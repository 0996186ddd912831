"""Simulated consultations with any model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pediatricsgpt.cli import endpoints
from pediatricsgpt.cli.common import AnyModel, console, make_folder, quiet, say, warn
from pediatricsgpt.errors import UserError

if TYPE_CHECKING:
    from pediatricsgpt.endpoint import TeacherSettings

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
    make_folder(out)
    from pediatricsgpt.evaluation.consultation import measure
    from pediatricsgpt.evaluation.settings import ConsultationSettings
    from pediatricsgpt.progress import progress

    settings = ConsultationSettings(
        caregiver=played_by, cards=None if cards is None else str(cards), max_cards=max_cards, max_turns=max_turns
    )
    name = remote.model if remote else str(model)
    quiet()
    from pediatricsgpt.models.engine import Sampling

    opened = endpoints.opened(model, remote, Sampling(max_new_tokens), batch_size, out / _PAID)
    with opened as (engine, _), progress(console, "consulting", number) as advance:
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
    endpoints.check_one_model(model, api, {"--model": api_model, "--key-env": key_env})
    if api is None:
        return None
    settings = endpoints.settings_of(api, api_model, key_env, allow_external, concurrency)
    endpoints.check_may_leave(settings, texts="cards")
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
    endpoints.check_may_leave(settings, texts="cards", option="--caregiver-api")
    return settings


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
        warn(
            f"{replaced['n']} of {replaced['of']} replies of the caregiver's model were replaced by the rules' ({why})"
        )
    if cut["n"]:
        warn(
            f"{cut['n']} of {cut['of']} turns of the model were cut off, and with them perhaps a question; raise "
            "--max-new-tokens"
        )
    if found["empty_turns"]["n"]:
        warn(f"{found['empty_turns']['n']} of {found['empty_turns']['of']} turns of the model are empty")
    if found["unreviewed"]:
        say(f"{found['unreviewed']} of {found['cards']} cards were not reviewed by a doctor (未经医生审核)")
    say(f"{out / 'consultations.json'}; transcripts beside it")
