"""What a person sees while the reference is asked: a bar; off a terminal, now and then a line."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator

from rich.console import Console

from pediatricsgpt.progress import progress_of
from pediatricsgpt.training.progress import duration

_QUIET = 10.0
"""Seconds between two lines at the least: what is done sooner says nothing"""


@contextlib.contextmanager
def progress_of_reference(console: Console, name: str) -> Iterator[Callable[[int, int], None]]:
    """Show how far a precomputation is.

    Args:
        console: where it is shown.
        name: of the phase.

    Yields:
        the function that takes (pairs done, pairs in all).
    """
    if console.is_terminal:
        with progress_of(console, f"{name}: reference") as show:
            yield show
    else:
        yield _Lines(console, name).show


class _Lines:
    """A line for every tenth, where they do not follow each other quickly."""

    def __init__(self, console: Console, name: str) -> None:
        self._console, self._name = console, name
        self._begin = self._told = time.monotonic()
        self._tenth = 0

    def show(self, done: int, total: int) -> None:
        now, tenth = time.monotonic(), 10 * done // total
        if tenth == self._tenth or now - self._told < _QUIET:
            return
        self._tenth, self._told = tenth, now
        left = (now - self._begin) / done * (total - done)
        self._console.print(
            f"  {self._name}: reference of {done:,}/{total:,} pairs, {duration(left)} left",
            highlight=False,
            soft_wrap=True,
        )
