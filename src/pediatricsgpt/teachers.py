"""The teachers of a recipe: which rule has which, and where a run keeps the answers that it paid for."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pediatricsgpt.endpoint.settings import TeacherSettings
from pediatricsgpt.recipe import Recipe

if TYPE_CHECKING:
    from pediatricsgpt.endpoint import Endpoint

Rule = Literal["role_play", "reconstruct", "distill", "preferences", "weaker"]
REWRITING: tuple[Rule, ...] = ("role_play", "reconstruct", "distill")
FOLDER = "teacher"
# What an answer depends on. Budgets, prices and pauses may change without anything being done again.
PROMPT_TOKENS = 600  # about what a prompt of ours has around the text
_IDENTITY = ("base_url", "model", "temperature", "max_tokens", "repairs")


def teacher_of(recipe: Recipe, rule: Rule) -> TeacherSettings | None:
    """The settings of a rule's teacher; None for a rule that goes its way without."""
    build = recipe.corpus.build
    if rule == "weaker":
        return build.preferences.weaker
    own = getattr(build, rule).teacher
    if own == "none":
        return None
    return own or recipe.teacher


def identities(recipe: Recipe, rules: Sequence[Rule]) -> dict[str, Any]:
    """What the result of these rules depends on of their teachers, for a fingerprint."""
    found = {rule: teacher_of(recipe, rule) for rule in rules}
    return {rule: teacher and identity(teacher) for rule, teacher in found.items()}


def writers(recipe: Recipe) -> list[TeacherSettings]:
    """Whoever wrote rows that the models are to follow: none of them may judge these models without a reason."""
    rules: tuple[Rule, ...] = (*REWRITING, "preferences")
    return [teacher for rule in rules if (teacher := teacher_of(recipe, rule)) is not None]


def identity(endpoint: TeacherSettings) -> dict[str, Any]:
    """What answers depend on of whoever gives them."""
    return {name: getattr(endpoint, name) for name in _IDENTITY}


def answers_folder(run_folder: Path, rule: Rule) -> Path:
    """Where the paid answers of a rule lie: outside the step's own folder, which is made anew when a prompt changes."""
    return run_folder / FOLDER / rule


@contextlib.contextmanager
def opened(recipe: Recipe, rules: Sequence[Rule], run_folder: Path) -> Iterator[dict[Any, Endpoint]]:
    """The teachers of those rules that have one, ready to be asked.

    Raises:
        UserError: a key's variable is not set, or another process uses the answers.
    """
    wanted = {rule: teacher for rule in rules if (teacher := teacher_of(recipe, rule)) is not None}
    if not wanted:
        yield {}
        return
    from pediatricsgpt.endpoint import Budget, Endpoint

    # Rules that share a teacher's settings share its budget.
    budgets: dict[int, Budget] = {}
    with contextlib.ExitStack() as stack:
        endpoints = {}
        for rule, teacher in wanted.items():
            budget = budgets.setdefault(id(teacher), Budget(teacher))
            endpoints[rule] = stack.enter_context(Endpoint(teacher, answers_folder(run_folder, rule), budget))
        yield endpoints


def usage(teachers: dict[Any, Endpoint]) -> dict[str, Any]:
    """Requests, tokens and money of each rule, as counts for a manifest."""
    counts: dict[str, Any] = {}
    for rule, teacher in teachers.items():
        spent = teacher.usage
        counts |= {f"{rule}_requests": spent.requests, f"{rule}_cached": spent.cached, f"{rule}_tokens": spent.tokens}
        if spent.money:
            counts[f"{rule}_money"] = round(spent.money, 4)
    return counts


def cost_lines(recipe: Recipe, run_folder: Path) -> Iterator[str]:
    """What each teacher will cost at most, a line a rule; nothing where no rule has one.

    Requests over texts are counted on the curated records, so that these have to be there.
    """
    rewriting = {rule: teacher for rule in REWRITING if (teacher := teacher_of(recipe, rule)) is not None}
    curated = run_folder / "corpus" / "curated"
    if rewriting and not (curated / "manifest.json").is_file():
        yield f"teacher ({', '.join(rewriting)}): its cost is known once corpus/curated is built (run --until it)"
    elif rewriting:
        from pediatricsgpt.corpus.build.cost import costs
        from pediatricsgpt.records import read_records

        records = read_records(curated / "records.parquet")
        asked = {str(rule): teacher for rule, teacher in rewriting.items()}
        for name, cost in costs(records, recipe.corpus.build, asked).items():
            yield cost_line(f"teacher of {name}", asked[name], cost.requests, cost.input_tokens, cost.output_tokens)
    pairs = recipe.corpus.build.preferences
    longest = pairs.max_prompt_characters + pairs.max_answer_characters + PROMPT_TOKENS
    sides: tuple[tuple[Rule, int | None], ...] = (("preferences", None), ("weaker", pairs.max_new_tokens))
    for rule, written in sides:
        if side := teacher_of(recipe, rule):
            given, taken = pairs.medical_pairs * longest, pairs.medical_pairs * (written or side.max_tokens)
            yield cost_line(f"teacher of {rule}", side, pairs.medical_pairs, given, taken)


def cost_line(what: str, teacher: TeacherSettings, requests: int, given: int, taken: int) -> str:
    """What an endpoint will be asked at most, and what that costs, in one line."""
    money = (given * teacher.price_input + taken * teacher.price_output) / 1e6
    price = f"{money:,.2f} {teacher.currency}" if teacher.price_input or teacher.price_output else "no price given"
    budget = [f"{teacher.budget_tokens:,} tokens"] if teacher.budget_tokens else []
    budget += [f"{teacher.budget_money:,.2f} {teacher.currency}"] if teacher.budget_money else []
    bound = f"; budget {' and '.join(budget)}" if budget else "; no budget set"
    return (
        f"{what} ({teacher.model}): at most {requests:,} requests, {given:,} tokens in and {taken:,} out, "
        f"{price}{bound}"
    )
