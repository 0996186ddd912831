"""Who may judge, and what may be said of it: no teacher of the data without a reason, no headline unvalidated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pediatricsgpt.endpoint.settings import TeacherSettings
from pediatricsgpt.errors import UserError
from pediatricsgpt.evaluation.validation.figures import headline_allowed


def teachers_too(
    judges: Sequence[TeacherSettings], teachers: Sequence[TeacherSettings | str], reason: str | None = None
) -> list[bool]:
    """For each judge, whether it also wrote training data: such a judge favours answers in its own manner.

    The same model counts at whatever address it stands, and with or without its owner's name before it.

    Args:
        judges: who is to judge.
        teachers: who wrote data: their settings, or the models' names.
        reason: why a teacher may judge all the same; it is printed beside the figures.

    Raises:
        UserError: a judge was a teacher, and no reason is given.
    """
    taught = {_model(one if isinstance(one, str) else one.model): one for one in teachers}
    found = [_model(judge.model) in taught for judge in judges]
    if any(found) and not (reason or "").strip():
        judge = judges[found.index(True)]
        teacher = taught[_model(judge.model)]
        known = teacher if isinstance(teacher, str) else f"{teacher.model} at {teacher.base_url}"
        raise UserError(
            f"{judge.model} at {judge.base_url} wrote training data itself (teacher: {known}; the same model counts at "
            "any address) and favours its own; take another judge, or say in may_be_teacher why it may judge all the "
            "same: the reason is printed beside its figures",
            "judge.judges",
        )
    return found


def headline(
    judges: Sequence[TeacherSettings],
    validation: Mapping[str, Any] | None,
    prompt_sha256: str,
    both_orders: bool = True,
) -> tuple[list[bool], dict[str, Any]]:
    """Whether a report may draw a conclusion from these judges.

    Args:
        judges: whose verdicts are counted.
        validation: the content of `validation.json`, or None where there is none.
        prompt_sha256: of the prompt that they judged with.
        both_orders: whether each pair was shown in both orders, as it is in a validation.

    Returns:
        for each judge whether it passed a validation, and {"allowed", "why"} for all of them.
    """
    found = [headline_allowed(validation, judge.model, prompt_sha256) for judge in judges]
    passed = [allowed for allowed, _ in found]
    reasons = dict.fromkeys(why for allowed, why in found if all(passed) or not allowed)
    allowed = all(passed) and both_orders
    if all(passed) and not both_orders:
        reasons = {"each pair was shown in one order only, and the judges were validated in both": None}
    said = "; ".join(reasons)
    if not allowed:
        said += ": the figures stand, but no conclusion is drawn from them"
    return passed, {"allowed": allowed, "why": said}


def _model(name: str) -> str:
    """A model's name without its owner and case: Qwen/Qwen2.5-72B is qwen2.5-72b."""
    return name.strip().rstrip("/").rpartition("/")[2].casefold()
