"""What the rules with a teacher will cost, before anything is sent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pediatricsgpt.corpus.build import distill, reconstruct, role_play_teacher
from pediatricsgpt.corpus.build.teacher import Turns
from pediatricsgpt.corpus.settings import BuildSettings
from pediatricsgpt.endpoint import Estimate, Request, TeacherSettings, estimate
from pediatricsgpt.endpoint.budget import price
from pediatricsgpt.records import Record

_QUESTION = "问" * 60  # about as long as an inquirer's question may be


def costs(
    records: Sequence[Record],
    settings: BuildSettings,
    teachers: Mapping[str, TeacherSettings],
) -> dict[str, Estimate]:
    """Requests, tokens and money at most for `role_play`, `reconstruct` and `distill`, where they have a teacher.

    The first request of each item is counted as it will be sent; later ones of the same item by the longest text that
    they can hold, because what they will hold is not written yet. Repairs of broken answers are not in it.

    Args:
        records: curated records.
        settings: of all rules.
        teachers: the settings of each rule's teacher.
    """
    found: dict[str, Estimate] = {}
    for rule, teacher in teachers.items():
        if rule == "role_play":
            found[rule] = estimate(_role_play(records, settings), teacher)
        elif rule == "reconstruct":
            messages = reconstruct.requests(records, settings.reconstruct)
            found[rule] = estimate([Request(turns, Turns) for turns in messages], teacher)
        elif rule == "distill":
            first = [Request(turns, Turns) for turns in distill.requests(records, settings.distill)]
            found[rule] = _times(estimate(first, teacher), len(settings.distill.steps), teacher)
    return found


def _role_play(records: Sequence[Record], settings: BuildSettings) -> list[Request]:
    inquiries, answers = role_play_teacher.requests(records, settings.role_play, _QUESTION)
    return [
        *(Request(turns, role_play_teacher.Asked) for turns in inquiries),
        *(Request(turns, role_play_teacher.Grounded) for turns in answers),
    ]


def _times(first: Estimate, steps: int, teacher: TeacherSettings) -> Estimate:
    """As many passes as `steps`; each later one also reads at most what the one before may have written."""
    given = first.input_tokens * steps + first.output_tokens * (steps - 1)
    taken = first.output_tokens * steps
    money = price(teacher, given, taken)
    return Estimate(first.requests * steps, given, taken, money, first.currency)
