"""How far style alone tells the sides of the preference set apart, said before training (METHOD's caution on DFPO).

The corpus computes the statistics and the probe when it builds the set, and leaves them beside it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pediatricsgpt.manifest import write_atomically

STATISTICS = "statistics.json"
SHORTCUTS = "shortcuts.json"


def look(data: Path, folder: Path, limit: float | None, say: Callable[[str], None]) -> dict[str, Any]:
    """Write `shortcuts.json` into the folder of the phase, and warn where style separates the sides.

    Args:
        data: the rows that are trained on; the corpus's statistics lie beside them.
        folder: of the phase.
        limit: area under the curve of the probe above which a line is said; None says nothing.
        say: tells a person.

    Returns:
        what was written: `sides` and `probe` of the corpus's statistics; `missing` where there are none.
    """
    found = _found(data.with_name(STATISTICS))
    write_atomically(folder / SHORTCUTS, json.dumps(found, ensure_ascii=False, indent=1))
    if "missing" in found:
        say(f"shortcuts of the preference set are unknown: {found['missing']}")
        return found
    area = found["probe"].get("auc")
    if limit is not None and area is not None and area > limit:
        best = sorted(found["probe"]["features"].items(), key=lambda item: -abs(item[1] - 0.5))[:3]
        named = ", ".join(f"{name} {value:.2f}" for name, value in best)
        say(
            f"style alone tells the preferred answers from the low ones (AUC {area:.2f} over {found['probe']['n']} "
            f"pairs, by itself: {named}); the model may learn it instead of what they say"
        )
    return found


def _found(path: Path) -> dict[str, Any]:
    try:
        of_pairs = json.loads(path.read_text(encoding="utf-8"))["sets"]["preferences"]
        return {"sides": of_pairs["sides"], "probe": of_pairs["probe"]}
    except FileNotFoundError:
        return {"missing": f"no {STATISTICS} beside the rows; pedgpt run writes it when it builds the set"}
    except (ValueError, KeyError, TypeError):
        return {"missing": f"{STATISTICS} beside the rows is damaged or of another version"}
