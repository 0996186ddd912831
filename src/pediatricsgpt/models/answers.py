"""Answers of one model to many prompts, kept as they come: a killed run goes on where it was."""

from __future__ import annotations

import fcntl
import json
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from pediatricsgpt.errors import UserError
from pediatricsgpt.manifest import digest
from pediatricsgpt.records import Message, write_json_lines

_log = logging.getLogger(__name__)


class Answerer(Protocol):
    """Something that answers dialogues: the local engine, or a model at an address."""

    @property
    def signature(self) -> list[Any]:
        """What an answer depends on besides its prompt."""

    def answers(
        self, prompts: Sequence[Sequence[Message]], done: Iterable[int] = ()
    ) -> Iterator[list[tuple[int, str]]]:
        """Answer all prompts but those in `done`; yields (index, answer) in groups, as they come.

        An answer that the bound of new tokens cut off is a `CutOff`.

        Raises:
            Unanswered: some prompts have no answer; the answers to all others were given before.
        """

    def fits(self, messages: Sequence[Message]) -> bool:
        """Whether a dialogue and its answer fit the model's window."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """A dialogue that waits for the assistant's next turn."""

    id: str
    messages: Sequence[Message]


class CutOff(str):
    """An answer that does not come to its end, for the bound of new tokens cut it off."""

    __slots__ = ()


class Unanswered(UserError):
    """Prompts that got no answer while others did: refused by a server, or failed each time that they were tried.

    Args:
        reasons: by the prompt's index, why.
        answers: by the index, the answers to the others, where somebody kept them.
        asked: how many prompts there are, and `names` theirs.
    """

    exit_code = 1

    def __init__(
        self,
        reasons: Mapping[int, str],
        answers: Mapping[int, str] | None = None,
        names: Sequence[str] | None = None,
        where: str | Path | None = None,
    ) -> None:
        first = min(reasons)
        name = f"prompt {first + 1}" if names is None else names[first]
        asked = "" if names is None else f" of {len(names)}"
        super().__init__(
            f"{len(reasons)}{asked} prompts got no answer (the first, {name}: {reasons[first]}); all other answers are "
            "kept, and the same command asks for these again",
            where,
        )
        self.reasons = dict(reasons)
        self.answers = dict(answers or {})


def answer_all(
    engine: Answerer, prompts: Sequence[Prompt], path: Path, advance: Callable[[int], None] = lambda _: None
) -> list[str]:
    """The answers to all prompts, in their order.

    Args:
        path: JSON lines: first what the answers depend on (model, sampling, prompts), then `{"index", "answer"}`,
            appended batch by batch, with `"cut_off": true` where the bound of new tokens ended it; prompts that got
            none are `{"index", "failure"}`. What it holds already is not asked again, but failures are. Answers of
            another model, of other settings or to other prompts are set aside in a file beside it, with a warning,
            and taken up again when they are the ones that are wanted.
        advance: told how many answers have just come in (also those found in `path`).

    Raises:
        UserError: another process is writing this file.
        Unanswered: some prompts got no answer; it carries the answers to the others.
    """
    with _opened(path, engine, prompts) as file:
        known = _collect(file, engine, prompts, path, advance)
    return [known[index] for index in range(len(prompts))]


@dataclass(frozen=True, slots=True)
class Account:
    """What a file of answers holds: how many, and of them those that say nothing, those that the bound of new tokens
    cut off, and those that stand in for none (`failed`, which are empty too).
    """

    answers: int
    empty: int
    cut_off: int
    failed: int


def answer_file(
    engine: Answerer,
    prompts: Sequence[Prompt],
    out: Path,
    row: Callable[[int, str], Mapping[str, Any]],
    advance: Callable[[int], None] = lambda _: None,
    failed_as_empty: bool = False,
) -> Account:
    """Answer all prompts and write them as JSON lines, which are there as a whole or not at all.

    Until then the answers are kept beside the file (`.answers`, see `answer_all`), so that a kill loses none.

    Args:
        out: the file to write.
        row: the line for a prompt's index and its answer. `"cut_off": true` is added to it where the bound of new
            tokens ended the answer.
        advance: told how many answers have just come in.
        failed_as_empty: write an empty answer, and the reason as `failed`, for a prompt that got none.

    Raises:
        UserError: another process is writing these answers.
        Unanswered: some prompts got no answer, and `failed_as_empty` is not set.
    """
    kept = out.with_name(out.name + ".answers")
    reasons: dict[int, str] = {}
    with _opened(kept, engine, prompts) as file:
        try:
            known = _collect(file, engine, prompts, kept, advance)
        except Unanswered as error:
            if not failed_as_empty:
                raise
            known, reasons = {**error.answers, **dict.fromkeys(error.reasons, "")}, error.reasons
        partial = out.with_name(out.name + ".writing")
        extra = {index: {"cut_off": True} for index, answer in known.items() if isinstance(answer, CutOff)}
        failed = {index: {"failed": reason} for index, reason in reasons.items()}
        added: dict[int, dict[str, Any]] = {**extra, **failed}
        write_json_lines(partial, [{**row(index, known[index]), **added.get(index, {})} for index in range(len(known))])
        partial.replace(out)
        if not failed:  # with failures it stays, for whoever wants them asked again
            kept.unlink()
    return Account(len(known), sum(not answer.strip() for answer in known.values()), len(extra), len(failed))


def _collect(
    file: BinaryIO, engine: Answerer, prompts: Sequence[Prompt], path: Path, advance: Callable[[int], None]
) -> dict[int, str]:
    """The answers by their index: those in the file, and the others as they come."""
    known = _known(file)
    advance(len(known))
    try:
        for batch in engine.answers([prompt.messages for prompt in prompts], done=known):
            new = [index for index, _ in batch if index not in known]
            known.update(batch)
            _append(file, [_row(index, known[index]) for index in new])
            advance(len(new))
    except Unanswered as error:
        _append(file, [{"index": index, "failure": reason} for index, reason in sorted(error.reasons.items())])
        raise Unanswered(error.reasons, known, [prompt.id for prompt in prompts], path) from error
    return known


def _row(index: int, answer: str) -> dict[str, Any]:
    cut = {"cut_off": True} if isinstance(answer, CutOff) else {}
    return {"index": index, "answer": answer, **cut}


def _append(file: BinaryIO, rows: Iterable[Mapping[str, Any]]) -> None:
    """Rows behind the others, on the disk when this returns."""
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    file.write(text.encode("utf-8", "surrogatepass"))
    file.flush()
    os.fsync(file.fileno())


@contextmanager
def _opened(path: Path, engine: Answerer, prompts: Sequence[Prompt]) -> Iterator[BinaryIO]:
    """The file of these answers, held for this process, with its first line in place."""
    parts = [digest(engine.signature), digest([[prompt.id, list(prompt.messages)] for prompt in prompts])]
    signature = digest(parts)
    while True:
        with path.open("a+b") as file:
            _lock(file, path)
            if not _is_still(file, path):  # finished and removed, or set aside, by whoever held it before
                continue
            found = _first(file)
            if found is None:
                if _aside(path, signature).is_file():
                    _aside(path, signature).replace(path)
                    continue
                file.truncate(0)
                _append(file, [{"signature": signature, "parts": parts}])
            elif found.get("signature") != signature:
                if answers := len(_known(file)):
                    _set_aside(path, found, parts, answers)
                else:
                    file.truncate(0)
                continue
            yield file
            return


def _lock(file: BinaryIO, path: Path) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise UserError("another process is writing these answers; wait for it, or name another file", path) from error


def _is_still(file: BinaryIO, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _aside(path: Path, signature: Any) -> Path:
    return path.with_name(f"{path.name}.{digest(signature)[:8]}")


def _set_aside(path: Path, found: Mapping[str, Any], parts: Sequence[str], answers: int) -> None:
    """Keep answers that are not these, for they took time or money, and say so."""
    kept = _aside(path, found.get("signature"))
    before = found.get("parts")
    same_model = isinstance(before, list) and before[:1] == [parts[0]]
    what = "to other questions" if same_model else "of another model, or of other settings"
    path.replace(kept)
    _log.warning("%s held %d answers %s; they are now in %s, and all is asked anew", path, answers, what, kept.name)


def _first(file: BinaryIO) -> dict[str, Any] | None:
    """What the first line says; None where there is none, or not all of it."""
    file.seek(0)
    return _read(file.readline())


def _read(line: bytes) -> dict[str, Any] | None:
    try:
        row = json.loads(line) if line.endswith(b"\n") else None
    except ValueError:
        return None
    return row if isinstance(row, dict) else None


def _known(file: BinaryIO) -> dict[int, str]:
    """What an interrupted run wrote. A line that was torn by the kill is cut off, and so is what follows it."""
    known: dict[int, str] = {}
    file.seek(0)
    whole = len(file.readline())
    for line in file:
        row = _read(line)
        if row is None or not isinstance(row.get("index"), int):
            break
        if isinstance(row.get("answer"), str):
            known[row["index"]] = CutOff(row["answer"]) if row.get("cut_off") else row["answer"]
        whole += len(line)
    file.truncate(whole)
    return known
