"""One model's consultations from settings to results: what a run's evaluation and `pedgpt consult` both call."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pediatricsgpt.endpoint.settings import TeacherSettings
from pediatricsgpt.evaluation.consultation.card import read_cards
from pediatricsgpt.evaluation.consultation.caregiver import Caregiver, RuleCaregiver
from pediatricsgpt.evaluation.consultation.consult import consult, signature
from pediatricsgpt.evaluation.consultation.score import summary, write_results
from pediatricsgpt.evaluation.settings import ConsultationSettings
from pediatricsgpt.models.answers import Answerer

_PAID = "caregiver.paid"


def measure(
    engine: Answerer,
    model: str,
    settings: ConsultationSettings,
    out: Path,
    folder: Path = Path(),
    advance: Callable[[int], None] = lambda _: None,
    failed_as_empty: bool = False,
    paid: Path | None = None,
) -> dict[str, Any]:
    """Let a model lead consultations on all cards; writes transcripts and `consultations.json`, and gives the latter.

    Args:
        engine: the model under test.
        model: its name in the results.
        settings: cards, caregiver, turns.
        out: where everything is written, and from where an interrupted call goes on.
        folder: to which the path of the cards is relative: the recipe's.
        advance: told how many consultations have just ended.
        failed_as_empty: a turn that a server will not answer counts as an empty one.
        paid: where a caregiver's paid answers are kept; beside the results by default.

    Raises:
        UserError: as `read_cards`, `consult` and `Endpoint`.
    """
    cards = read_cards(None if settings.cards is None else folder / settings.cards, settings.max_cards)
    out.mkdir(parents=True, exist_ok=True)
    with _caregiver(settings.caregiver, paid or out / _PAID) as caregiver:
        held = consult(engine, cards, caregiver, out, settings.max_turns, advance, failed_as_empty)
        said = signature(engine, cards, caregiver, settings.max_turns)
        found = summary(model, held, caregiver.name, settings.max_turns, said)
    write_results(found, out)
    return found


@contextmanager
def _caregiver(settings: TeacherSettings | None, paid: Path) -> Iterator[Caregiver]:
    if settings is None:
        yield RuleCaregiver()
        return
    from pediatricsgpt.endpoint import Endpoint
    from pediatricsgpt.evaluation.consultation.caregiver_teacher import TeacherCaregiver

    # Cards are about no patient, so leave to use the address is leave to send them there
    with Endpoint(settings, paid) as endpoint:
        yield TeacherCaregiver(endpoint, settings.allow_external)
