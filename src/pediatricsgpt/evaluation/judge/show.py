"""The figures of a pair of models for the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from pediatricsgpt.errors import UserError
from pediatricsgpt.evaluation.judge.aggregate import STRATA

if TYPE_CHECKING:
    from rich.table import Table

_NONE = "-"


def _table(title: str, caption: str) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    return Table(title=Text(title), caption=Text(caption) if caption else None, box=box.SIMPLE, pad_edge=False)


def table(found: Mapping[str, Any]) -> Table:
    """Dimensions as rows: win, tie and loss of A, each with its interval, and what may be said.

    Args:
        found: `judge.json`, or `panel.json`.
    """
    a, b = found["models"]
    caption = f"win: {a} is better; net: win less loss; shares of n items, % [95 % interval]"
    judged = _table(f"{a} against {b}", caption)
    for name in ("dimension", "n", "win", "tie", "loss", "net", "verdict", "p (Holm)"):
        judged.add_column(name, justify="left" if name == "dimension" else "right")
    for name, one in found["dimensions"].items():
        cells = (_share(one["win"]), _share(one["tie"]), _share(one["loss"]), _share(one["net"], signed=True))
        p = _p(one["p_holm"])
        judged.add_row(name, str(one["n"]), *cells, one["verdict"], p)
    return judged


def quality(found: Mapping[str, Any]) -> Table:
    """Dimensions as rows: how far the verdicts can be trusted."""
    titles = ("dimension", "invalid", "flipped", "first shown wins", "longer wins", "win at equal length")
    judged = _table("how the judge judges", "% [95 % interval] (n); at equal length a tie is half a win")
    for name in titles:
        judged.add_column(name, justify="left" if name == "dimension" else "right")
    for name, one in found["dimensions"].items():
        shares = ("flip_rate", "first_shown", "longer_wins", "length_controlled")
        judged.add_row(name, str(one["invalid"]), *(_share(one[share], with_n=True) for share in shares))
    return judged


def check_label(by: str | None) -> None:
    """Find out before anything is paid for whether strata can be by this label.

    Raises:
        UserError: there is no such label.
    """
    if by is not None and by not in STRATA:
        raise UserError(f"strata are by {', '.join(STRATA)}, not by '{by}'", "--by")


def strata(found: Mapping[str, Any], by: str) -> Table:
    """Values of one label as rows, the weakest first: net wins of A on each dimension.

    Raises:
        UserError: there is no such label, or no item has it.
    """
    from rich.text import Text

    check_label(by)
    if by not in found["strata"]:
        raise UserError(f"no item says its {by}", "--by")
    judged = _table(f"net wins of {found['models'][0]} by {by}, the weakest first", "% [95 % interval]")
    for name in (by, "n", *found["dimensions"]):
        judged.add_column(name, justify="left" if name == by else "right")
    for value, rows in found["strata"][by].items():
        largest = max(row["n"] for row in rows.values())
        judged.add_row(Text(value), str(largest), *(_share(row["net"], signed=True) for row in rows.values()))
    return judged


def lines(found: Mapping[str, Any]) -> Iterator[str]:
    """What else is worth a line: agreement, self-consistency, how answers were shown, costs, whether to believe it."""
    for name, one in found["agreement"].items():
        alpha = one["alpha"] and f", Krippendorff's alpha {_share(one['alpha'], plain=True)}"
        yield f"raters agree on {name} in {_share(one['percent'])} % of {one['units']} items{alpha or ''}"
    for rater, rows in (found["self_consistency"] or {}).items():
        told = ", ".join(f"{name} {_share(one, with_n=True)}" for name, one in rows.items())
        yield f"{rater} says the same again, in %: {told}"
    shown = found["shown"]
    for what, told in (("empty", "empty"), ("masked", "with what says who wrote them, masked"), ("cut", "cut")):
        if any(shown[what].values()):
            yield f"answers {told}: " + ", ".join(f"{count} of {model}" for model, count in shown[what].items())
    if shown["identical"]:
        yield f"{shown['identical']} pairs of identical answers count as ties without being asked about"
    spent = found["costs"]
    money = f", {spent['money']:.4f} {spent['currency']}" if spent["money"] else ""
    yield (
        f"{spent['requests']} answers paid for ({spent['cached']} before this command), {spent['input_tokens']} tokens "
        f"in and {spent['output_tokens']} out{money}"
    )
    yield ("may be a headline: " if found["headline"]["allowed"] else "no headline: ") + found["headline"]["why"]


def _p(value: float | None) -> str:
    if value is None:
        return _NONE
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def _share(one: Mapping[str, Any] | None, signed: bool = False, with_n: bool = False, plain: bool = False) -> str:
    if one is None:
        return _NONE
    if plain:
        return f"{one['mean']:.2f} [{one['low']:.2f}, {one['high']:.2f}]"
    mean = f"{100 * one['mean']:{'+' if signed else ''}.0f}"
    return f"{mean} [{100 * one['low']:.0f}, {100 * one['high']:.0f}]" + (f" ({one['n']})" if with_n else "")
