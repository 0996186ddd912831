"""Whether a finished step of a corpus still fits what it was made from, by the hashes in the manifests.

`corpus build` makes the preference set only where the models are trained as well, and a run may be stopped between two
steps: what is left of before may hold rows that are held out now.
"""

from __future__ import annotations

from pathlib import Path

from pediatricsgpt.manifest import Manifest, read_manifest

_ROOM = "corpus/"


def stale(corpus: Path, name: str) -> str:
    """Why a step of a corpus has to be run again; empty where it need not, or is not finished at all.

    An input whose folder is no more there (a model that was deleted to save space) tells nothing.

    Args:
        corpus: the corpus room's folder.
        name: of a folder in it, such as `preferences`.

    Raises:
        UserError: a manifest is damaged.
    """
    return _why(corpus, _ROOM + name, {})


def _why(corpus: Path, step: str, known: dict[str, str]) -> str:
    """A step may be as its inputs are, and these be older than theirs. Steps depend on each other without circles."""
    if step not in known:
        known[step] = ""
        made = _manifest(corpus, step)
        for above, content in made.inputs.items() if made else ():
            now = _manifest(corpus, above)
            if now is None:
                continue
            # What tells people about a step depends on all of it, what goes on from there on its content alone.
            same = content in (now.content, now.whole)
            changed = "" if same else f"{above} is no more what it was made from"
            known[step] = known[step] or changed or _why(corpus, above, known)
    return known[step]


def _manifest(corpus: Path, step: str) -> Manifest | None:
    if Path(step).is_absolute():  # a file that was read, not a step
        return None
    return read_manifest(corpus / step.removeprefix(_ROOM) if step.startswith(_ROOM) else corpus.parent / step)
