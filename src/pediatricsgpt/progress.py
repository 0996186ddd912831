"""The progress bar of everything that takes more than a few seconds; quiet when there is no terminal."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from rich.console import Console


@contextlib.contextmanager
def progress(console: Console, name: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """A bar of `total` items (None: nobody knows) on this console; gives the function that moves it on."""
    from rich.progress import Progress

    with Progress(console=console, disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task(f"  {name}", total=total)
        yield lambda count: bar.advance(task, count)


@contextlib.contextmanager
def progress_of(console: Console, name: str) -> Iterator[Callable[[int, int], None]]:
    """A bar whose length is learnt on the way; gives the function that takes (items done, items in all)."""
    from rich.progress import Progress

    with Progress(console=console, disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task(f"  {name}", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
