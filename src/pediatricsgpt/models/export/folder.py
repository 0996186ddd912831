"""The folder that an export goes to: nothing of others is touched, and it is whole or not there."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pediatricsgpt.errors import UserError
from pediatricsgpt.models.export.lineage import LINEAGE
from pediatricsgpt.models.export.origin import Origin

_MARK = ".pedgpt-export"
"""Lies in a folder while it is written: by it, what a killed export left is told from what is somebody's"""


def check_out(origin: Origin, out: Path, overwrite: bool) -> None:
    """Find out before the work whether the folder may be made.

    Raises:
        UserError: it holds something, and not an earlier export that `overwrite` allows to replace; or the model lies
            in it.
    """
    place = out.expanduser().resolve()
    for used in (origin.folder, Path(origin.base).expanduser().resolve() if origin.base else None):
        if used is not None and (used == place or place in used.parents):
            raise UserError("the model itself lies in this folder; name another one", out)
        if used is not None and used in place.parents:
            raise UserError("this lies in the folder of the model itself; name another one", out)
    if place.exists() and not place.is_dir():
        raise UserError("a file stands here; name a new folder", out)
    if not place.is_dir() or not any(place.iterdir()):
        return
    if not overwrite:
        raise UserError("there is something already; name a new folder, or replace an export with --overwrite", out)
    if not (place / LINEAGE).is_file():
        raise UserError(f"this is no earlier export (no {LINEAGE}), so it is not overwritten; name a new folder", out)


@contextmanager
def whole(out: Path) -> Iterator[Path]:
    """The folder to work in: `<out>.partial`, which takes the place of `out` at the end, or goes when anything fails.

    Raises:
        UserError: there is a folder of that name that is not ours.
    """
    place = out.expanduser().resolve()
    partial, replaced = (place.with_name(place.name + ending) for ending in (".partial", ".replaced"))
    _clear(place, partial, replaced)
    partial.mkdir(parents=True)
    try:
        (partial / _MARK).touch()
        yield partial
        _readable(partial)
        if place.exists():
            place.rename(replaced)
        partial.rename(place)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        if replaced.exists() and not place.exists():
            replaced.rename(place)
        raise
    (place / _MARK).unlink()
    if replaced.exists():
        shutil.rmtree(replaced)


def _clear(place: Path, partial: Path, replaced: Path) -> None:
    """Remove what a killed export left; an earlier export that it had already moved aside comes back."""
    for folder, sign in ((partial, _MARK), (replaced, LINEAGE)):
        if folder.exists() and not (folder / sign).is_file():
            raise UserError("this folder is needed to work in, and holds something else; move it away", folder)
    if partial.exists():
        shutil.rmtree(partial)
    if replaced.exists():
        if place.exists():
            shutil.rmtree(replaced)
        else:
            replaced.rename(place)


def _readable(folder: Path) -> None:
    """Weights are written for their owner alone; an export is for others, as the rest of its files."""
    for file in folder.rglob("*.safetensors"):
        shutil.copymode(folder / LINEAGE, file)
