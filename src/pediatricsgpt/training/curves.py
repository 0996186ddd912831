"""The curves of a phase as a picture, drawn from its log."""

from __future__ import annotations

import importlib.util
import math
from pathlib import Path
from typing import Any

from pediatricsgpt.curves import PICTURE, Point, charts
from pediatricsgpt.errors import require_extra
from pediatricsgpt.training.metrics import read_metrics

_COLUMNS = 2
_INCHES = (5.2, 3.1)
# Of the fonts that have Chinese characters, those that come with the systems that people have.
_CHINESE_FONTS = (
    "Noto Sans CJK SC",
    "Noto Sans CJK JP",
    "Source Han Sans SC",
    "WenQuanYi Micro Hei",
    "WenQuanYi Zen Hei",
    "Microsoft YaHei",
    "SimHei",
    "PingFang SC",
    "Heiti SC",
    "Arial Unicode MS",
)


def check() -> None:
    """Look for matplotlib without importing it: rather now than after the training.

    Raises:
        UserError: it is not installed.
    """
    if importlib.util.find_spec("matplotlib") is None:
        raise require_extra("train", ModuleNotFoundError("No module named 'matplotlib'", name="matplotlib"))


def draw(folder: Path, name: str) -> Path | None:
    """Draw `curves.png` from the log of a phase: losses, their terms, held-out losses.

    Args:
        folder: of the phase.
        name: of the phase, for the title.

    Returns:
        the picture; None where nothing was logged.

    Raises:
        UserError: matplotlib is missing, or the log is damaged.
    """
    drawn = charts(read_metrics(folder))
    if not drawn:
        return None
    check()
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = min(_COLUMNS, len(drawn))
    rows = -(-len(drawn) // columns)
    path = folder / PICTURE
    with rc_context({"font.family": _fonts(), "axes.unicode_minus": False}):
        # Without pyplot: it would choose a backend for the whole process, and keep the figure.
        figure = Figure(figsize=(_INCHES[0] * columns, _INCHES[1] * rows), layout="constrained")
        FigureCanvasAgg(figure)
        for place, (title, curves) in enumerate(drawn.items(), 1):
            _chart(figure.add_subplot(rows, columns, place), title, curves)
        figure.suptitle(name)
        figure.savefig(path, dpi=110)
    return path


def _chart(axes: Any, title: str, curves: dict[str, list[Point]]) -> None:
    for name, points in curves.items():
        finite = [point for point in points if math.isfinite(point[1])]
        few = {"marker": "o", "markersize": 3} if len(finite) < 30 else {}
        axes.plot([step for step, _ in finite], [value for _, value in finite], label=name, linewidth=1.4, **few)
    axes.set_title(title, fontsize=10)
    axes.set_xlabel("step", fontsize=8)
    axes.tick_params(labelsize=8)
    axes.grid(alpha=0.25)
    if len(curves) > 1:
        axes.legend(fontsize=8)


def _fonts() -> list[str]:
    """A font that has Chinese characters where the machine has one, before matplotlib's own."""
    from matplotlib.font_manager import fontManager

    known = {font.name for font in fontManager.ttflist}
    return [*(name for name in _CHINESE_FONTS if name in known), "DejaVu Sans"]
