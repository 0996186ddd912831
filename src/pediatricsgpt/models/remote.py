"""A model under test at an OpenAI-compatible address, and the one way to open any model that is to answer.

What was answered is paid for once: the endpoint keeps it on the disk before anybody sees it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol

from pediatricsgpt.endpoint.settings import TeacherSettings
from pediatricsgpt.errors import UserError
from pediatricsgpt.models.answers import Answerer, CutOff, Unanswered
from pediatricsgpt.models.engine import Sampling
from pediatricsgpt.records import Message

if TYPE_CHECKING:
    from pediatricsgpt.endpoint import Answer, Endpoint, Failure
    from pediatricsgpt.models.load import Loaded

_Task = asyncio.Task[Any]
_GROUP, _GROUP_SECONDS = 64, 0.5
_THOUGHT_BEGINS, _THOUGHT_ENDS = "<think>", "</think>"


class Named(Protocol):
    """A model as a recipe names it: weights (`model`: folder or hub id) or an address (`api`)."""

    @property
    def name(self) -> str:
        """Its name in the results."""

    @property
    def model(self) -> str | None:
        """Folder or hub id."""

    @property
    def api(self) -> TeacherSettings | None:
        """Its address."""


class RemoteEngine:
    """Answers of a model at an address, `concurrency` on their way at one time.

    Args:
        endpoint: the address; this object takes it over, and closes it.
        sampling: how answers are drawn; temperature and bound of tokens are those of the endpoint's settings.
        system: a system turn for dialogues that have none.
        deidentified: whether what will be asked may leave this machine where the address is on another one: a
            public benchmark, or text that was de-identified.

    Raises:
        UserError: a repetition penalty, which the protocol has no word for.
        ValueError: the endpoint's settings say another temperature or bound of tokens.
    """

    def __init__(
        self, endpoint: Endpoint, sampling: Sampling, system: str | None = None, deidentified: bool = False
    ) -> None:
        settings = endpoint.settings
        if (settings.temperature, settings.max_tokens) != (sampling.temperature, sampling.max_new_tokens):
            raise ValueError("the endpoint's temperature and max_tokens are not those of the sampling")
        if sampling.repetition_penalty != 1.0:
            raise UserError(
                "a model at an address cannot be asked with a repetition penalty; set it to 1 for all models, so that "
                "they are measured alike",
                "repetition_penalty",
            )
        self._endpoint = endpoint
        self._sampling = sampling
        self._system = system
        self._deidentified = deidentified
        self._runner = asyncio.Runner()

    @property
    def endpoint(self) -> Endpoint:
        """The address, with the account of what was paid."""
        return self._endpoint

    @property
    def signature(self) -> list[Any]:
        """What an answer depends on besides its prompt."""
        settings = self._endpoint.settings
        return [settings.base_url, settings.model, self._sampling.signature, self._system]

    def fits(self, messages: Sequence[Message]) -> bool:
        """Nobody knows the window of a model at an address: it says so itself when a dialogue is too long."""
        return True

    def answers(
        self, prompts: Sequence[Sequence[Message]], done: Iterable[int] = ()
    ) -> Iterator[list[tuple[int, str]]]:
        """Answer all prompts but those in `done`; yields (index, answer) in groups, as they come. Equal ones are asked
        once.

        Raises:
            UserError: the server cannot be used, or the budget is spent. What was on its way is waited for, kept and
                yielded before that.
            Unanswered: some prompts got no answer; the answers to all others were yielded before.
        """
        from pediatricsgpt.endpoint import Failure

        failed: dict[int, str] = {}
        group: list[tuple[int, str]] = []
        last = time.monotonic()
        for indices, result in self._results(_same(prompts, set(done)), prompts):
            if isinstance(result, Failure):
                failed.update(dict.fromkeys(indices, result.reason))
            elif result is not None:
                group += [(index, _answer(result)) for index in indices]
            # Whoever keeps answers waits for the disk each time: not for every single one.
            if group and (result is None or len(group) >= _GROUP or time.monotonic() - last > _GROUP_SECONDS):
                yield group
                group, last = [], time.monotonic()
        if failed:
            raise Unanswered(failed, where=self._endpoint.settings.model)

    def _results(
        self, waiting: Iterator[list[int]], prompts: Sequence[Sequence[Message]]
    ) -> Iterator[tuple[list[int], Answer | Failure | None]]:
        """(indices, result) as results come; None as a result when no more will come."""
        running: dict[_Task, list[int]] = {}
        stop: UserError | None = None
        loop = self._runner.get_loop()
        try:
            while True:
                while stop is None and len(running) < self._endpoint.settings.concurrency:
                    if (indices := next(waiting, None)) is None:
                        break
                    running[loop.create_task(self._ask(prompts[indices[0]]))] = indices
                if not running:
                    break
                for task in self._runner.run(_first_of(running)):
                    indices = running.pop(task)
                    if isinstance(error := task.exception(), UserError):
                        stop = stop or _named(error, self._endpoint.settings)
                    else:
                        yield indices, task.result()
        finally:
            if running:  # nobody listens any more
                self._runner.run(_cancelled(running))
        yield [], None
        if stop is not None:
            raise stop

    def _ask(self, messages: Sequence[Message]) -> Coroutine[Any, Any, Answer | Failure]:
        turns = list(messages)
        if self._system is not None and (not turns or turns[0]["role"] != "system"):
            turns.insert(0, Message(role="system", content=self._system))
        return self._endpoint.complete([dict(turn) for turn in turns], deidentified=self._deidentified)

    def close(self) -> None:
        """Close the connections and give the cache of paid answers back."""
        self._runner.run(self._endpoint.aclose())
        self._runner.close()

    def __enter__(self) -> RemoteEngine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@contextmanager
def open_model(
    model: Named | TeacherSettings | str | Path,
    sampling: Sampling,
    batch_size: int = 16,
    folder: Path | None = None,
    cache_folder: Path | None = None,
    deidentified: bool = False,
) -> Iterator[tuple[Answerer, Loaded | None]]:
    """Open a model that is to answer, wherever it is.

    Args:
        model: as a recipe names it (`ModelUnderTest`), an address, or a phase folder, model folder or hub id.
        sampling: how answers are drawn.
        batch_size: prompts that a local model answers together.
        folder: to which the path of a model is relative: the recipe's.
        cache_folder: where answers that an address gave are kept. Answers drawn with another seed lie apart.
        deidentified: whether what will be asked may leave this machine (see `RemoteEngine`).

    Returns:
        What answers, and the loaded model where it is a local one.

    Raises:
        UserError: the model cannot be loaded or the address not be used; or there is neither (answers from elsewhere).
        ValueError: an address without a cache folder.
    """
    named = model.name if not isinstance(model, TeacherSettings | str | Path) else None
    chosen = model if isinstance(model, TeacherSettings | str | Path) else model.api or model.model
    if chosen is None:
        raise UserError("this model's answers were given elsewhere; it cannot be asked anything new", named)
    if isinstance(chosen, TeacherSettings):
        if cache_folder is None:
            raise ValueError("answers from an address need a folder that keeps them")
        with _remote(chosen, sampling, cache_folder, deidentified) as engine:
            yield engine, None
        return
    from pediatricsgpt.models.engine import Engine
    from pediatricsgpt.models.load import load

    path = (folder or Path()) / Path(chosen).expanduser()
    loaded = load(path if path.is_dir() else chosen)
    yield Engine(loaded, sampling, batch_size), loaded


def _remote(settings: TeacherSettings, sampling: Sampling, cache_folder: Path, deidentified: bool) -> RemoteEngine:
    from pediatricsgpt.endpoint import Endpoint

    given = {"temperature": sampling.temperature, "max_tokens": sampling.max_new_tokens}
    # The protocol's requests do not say the seed: answers of another one must not be found under the same name.
    drawn = cache_folder / f"seed-{sampling.seed}" if sampling.temperature and sampling.seed else cache_folder
    try:
        endpoint = Endpoint(settings.model_copy(update=given), drawn)
    except UserError as error:
        raise _named(error, settings) from error
    try:
        return RemoteEngine(endpoint, sampling, deidentified=deidentified)
    except BaseException:
        endpoint.close()
        raise


def _named(error: UserError, settings: TeacherSettings) -> UserError:
    """The error of an endpoint, which takes itself for a recipe's teacher, with the model's name."""
    from pediatricsgpt.endpoint import BudgetReached

    if isinstance(error, BudgetReached):  # its own message counts what one call answered, which is one prompt here
        spent = f"{error.usage.tokens} tokens and {error.usage.money:.4f} {error.usage.currency} spent"
        error.message = (
            f"the budget allows no further request: {spent}; nothing is lost, run again to go on, or raise the budget"
        )
    if error.where is not None and error.where.startswith("teacher"):
        error.where = settings.model
    return error


def _same(prompts: Sequence[Sequence[Message]], done: set[int]) -> Iterator[list[int]]:
    """The indices of equal prompts together, in the order of their first, without those that are done."""
    places: dict[tuple[tuple[str, str], ...], list[int]] = {}
    for index, messages in enumerate(prompts):
        if index not in done:
            places.setdefault(tuple((turn["role"], turn["content"]) for turn in messages), []).append(index)
    return iter(places.values())


def _answer(answer: Answer) -> str:
    """What was said, without thoughts: also those that have no beginning (the template gave it) or no end (cut off)."""
    text = answer.text.rpartition(_THOUGHT_ENDS)[2].partition(_THOUGHT_BEGINS)[0].strip()
    return text if answer.finished else CutOff(text)


async def _first_of(tasks: Iterable[_Task]) -> list[_Task]:
    """Those that are done when one is, in the order in which they were begun."""
    tasks = list(tasks)
    done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    return [task for task in tasks if task in done]


async def _cancelled(tasks: Iterable[_Task]) -> None:
    tasks = list(tasks)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
