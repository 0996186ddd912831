"""Which tokens of which rows a pass has: mixtures by token weights, exact budgets, sampling of tasks.

Texts are cut to the budget, to the token. Dialogues stay whole: a part has as many rows as come nearest to its budget.
What is drawn follows from the rows and the seed alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy

from pediatricsgpt.errors import UserError
from pediatricsgpt.records import PEDIATRIC_TASKS
from pediatricsgpt.training.batches import Piece, exactly
from pediatricsgpt.training.settings import ExpertsSettings

_NEAR = 1e-3
Places = dict[str, list[int]]
"""Places of the rows of each part"""


def budgets(weights: Mapping[str, float], tokens: int) -> dict[str, int]:
    """Tokens of each part, in proportion to the weights and `tokens` together (largest remainders)."""
    whole = sum(weights.values())
    exact = {name: tokens * weight / whole for name, weight in weights.items()}
    given = {name: math.floor(value) for name, value in exact.items()}
    by_remainder = sorted(weights, key=lambda name: (given[name] - exact[name], name))
    for name in by_remainder[: tokens - sum(given.values())]:
        given[name] += 1
    return given


def texts(lengths: Sequence[int], parts: Places, given: Mapping[str, int], longest: int, seed: int) -> list[Piece]:
    """Pieces of texts that have exactly the tokens given to each part.

    Args:
        lengths: tokens of each row.
        parts: places of the rows of each part.
        given: tokens of each part; one with none is left out.
        longest: tokens of a piece at the most.
        seed: decides which, where a part has more than it is given.
    """
    found: list[Piece] = []
    for name, places in parts.items():
        if given[name]:
            drawn = exactly([lengths[place] for place in places], given[name], longest, seed)
            found += [Piece(places[piece.row], piece.start, piece.stop) for piece in drawn]
    return found


def dialogues(lengths: Sequence[int], parts: Places, given: Mapping[str, int], seed: int) -> list[Piece]:
    """Whole rows of each part, again and again where too few, with tokens as near to those given as whole rows come."""
    found: list[Piece] = []
    for name, places in parts.items():
        found += [Piece(place, 0, lengths[place]) for place in _nearest(lengths, places, given[name], seed)]
    return found


def _nearest(lengths: Sequence[int], places: Sequence[int], tokens: int, seed: int) -> list[int]:
    chosen: list[int] = []
    turn = 0
    while tokens > 0:
        for index in numpy.random.default_rng([seed, turn]).permutation(len(places)):
            size = lengths[places[index]]
            if size > 2 * tokens:  # with it, further off than without
                return chosen or [places[index]]
            chosen.append(places[index])
            tokens -= size
            if tokens <= 0:
                break
        turn += 1
    return chosen


def task_budgets(available: Mapping[str, int], settings: ExpertsSettings) -> dict[str, int]:
    """Tokens that a pass has of each task.

    Args:
        available: tokens of all different rows of each task. Those that are not pediatric are the general replay.
        settings: how tasks are sampled, how much replay, and how often a row may come.

    Raises:
        UserError: replay is wanted and there are no general rows, or no row is of a pediatric task.
    """
    own = {task: tokens for task, tokens in available.items() if task in PEDIATRIC_TASKS}
    general = {task: tokens for task, tokens in available.items() if task not in PEDIATRIC_TASKS}
    if not own:
        raise UserError("no row is of a pediatric task (medkqa, evidiag, trerecom), so none can be sampled")
    given = _sampled(own, settings)
    if settings.general_replay is None:
        return given | general
    replay = settings.general_replay / (1 - settings.general_replay) * sum(given.values())
    if replay and not general:
        raise UserError("general_replay needs general rows, and the set has none; add a set to 'data' or set it to 0")
    whole = sum(general.values())
    return given | {
        task: round(min(replay * tokens / whole, tokens * settings.max_repeats)) for task, tokens in general.items()
    }


def told_of_tasks(available: Mapping[str, int], given: Mapping[str, int], settings: ExpertsSettings) -> list[str]:
    """Where `max_repeats` leaves a task, or the general rows, with fewer tokens than were asked for.

    Args:
        available: as of `task_budgets`.
        given: what that gave.
        settings: as of that.
    """
    own = {task: tokens for task, tokens in available.items() if task in PEDIATRIC_TASKS}
    wanted = {task: tokens for task, tokens in _wanted(own, settings).items() if given[task] < tokens}
    said = [
        f"task {task} has {given[task]:,} of the {tokens:,} tokens that {settings.task_sampling} asks for: its rows "
        f"have {own[task]:,}, and max_repeats is {settings.max_repeats}"
        for task, tokens in wanted.items()
    ]
    general = sum(tokens for task, tokens in given.items() if task not in PEDIATRIC_TASKS)
    share = general / max(1, sum(given.values()))
    if settings.general_replay is not None and share < settings.general_replay - _NEAR:
        said.append(
            f"general rows are {share:.1%} of the tokens and not {settings.general_replay:.1%}: there are "
            f"{sum(available.values()) - sum(own.values()):,} tokens of them, and max_repeats is {settings.max_repeats}"
        )
    return said


def _sampled(own: Mapping[str, int], settings: ExpertsSettings) -> dict[str, int]:
    if settings.task_sampling == "as_built":
        return dict(own)
    most = {task: tokens * settings.max_repeats for task, tokens in own.items()}
    return {task: min(tokens, most[task]) for task, tokens in _wanted(own, settings).items()}


def _wanted(own: Mapping[str, int], settings: ExpertsSettings) -> dict[str, int]:
    """Tokens of each pediatric task if rows could come as often as one likes."""
    if settings.task_sampling == "as_built":
        return dict(own)
    if settings.task_sampling == "balanced":
        return dict.fromkeys(own, sum(own.values()) // len(own))
    return budgets({task: tokens ** (1 / settings.temperature) for task, tokens in own.items()}, sum(own.values()))
