"""The one generation engine: answers to prompts, in length-sorted batches or as a stream."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Event, Thread
from typing import Any

from pediatricsgpt.errors import UserError
from pediatricsgpt.manifest import digest
from pediatricsgpt.models.answers import CutOff
from pediatricsgpt.models.encode import encode_prompt, end_of_turn
from pediatricsgpt.models.load import Loaded, identity
from pediatricsgpt.records import Message


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the next token is chosen. Temperature 0 is greedy: the same prompt gives the same answer.

    Above it, one of the 50 likeliest is drawn. With a seed, what is drawn for a prompt follows from the seed and the
    prompt alone: not from the batch, from what was asked before, or from an interruption. What a model's authors
    recommend (its `generation_config.json`) is left out, but for the tokens that end an answer: figures of several
    models are to be those of one way to generate.
    """

    max_new_tokens: int = 256
    temperature: float = 0.0
    repetition_penalty: float = 1.0
    seed: int | None = None
    """None draws anew each time"""

    @property
    def signature(self) -> list[float | int | None]:
        """What an answer depends on: a seed only where something is drawn."""
        return [self.max_new_tokens, self.temperature, self.repetition_penalty, self.seed if self.temperature else None]


class _Stop:
    """Ends a generation when its listener has gone; in the form that transformers asks for."""

    def __init__(self, stopped: Event) -> None:
        self._stopped = stopped

    def __call__(self, ids: Any, scores: Any, **kwargs: Any) -> Any:
        import torch

        return torch.full((ids.shape[0],), self._stopped.is_set(), dtype=torch.bool, device=ids.device)


_LIKELIEST = 50


class _Draw:
    """Draws one of the likeliest tokens, in the form of a logits processor: it leaves the drawn one as the greatest.

    The greatest of logits with Gumbel noise on each is a draw from their softmax. Each row has noise of its own, from
    the seed and its prompt, so that it does not matter which rows it shares a batch with.
    """

    def __init__(self, sampling: Sampling, prompts: Sequence[Sequence[int]]) -> None:
        import torch

        self._temperature = sampling.temperature
        self._sources: list[Any] = [None] * len(prompts)  # None is the process's own source
        if sampling.seed is not None:
            seeds = [int(digest([sampling.seed, list(prompt)])[:15], 16) for prompt in prompts]
            self._sources = [torch.Generator().manual_seed(seed) for seed in seeds]

    def __call__(self, ids: Any, scores: Any) -> Any:
        import torch

        values, places = scores.topk(min(_LIKELIEST, scores.shape[1]))
        uniform = torch.stack([torch.rand(values.shape[1], generator=source) for source in self._sources])
        noise = -torch.log(-torch.log(uniform.to(scores.device)))
        return torch.full_like(scores, -torch.inf).scatter(1, places, values / self._temperature + noise)


@contextmanager
def _without_defaults(model: Any) -> Iterator[None]:
    """Within it, a model has no generation settings of its own.

    transformers takes from them whatever a call leaves open: penalties that count the prompt, suppressed tokens.
    """
    from transformers import GenerationConfig

    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    own, base.generation_config = base.generation_config, GenerationConfig()
    try:
        yield
    finally:
        base.generation_config = own


class Engine:
    """Generates with a loaded model. Prompts longer than the model's window are refused, never cut."""

    def __init__(self, loaded: Loaded, sampling: Sampling, batch_size: int = 8) -> None:
        self._model = loaded.model.eval()
        self._tokenizer = loaded.tokenizer
        self._sampling = sampling
        self._batch_size = batch_size
        self._identity = identity(loaded)
        self._window = getattr(loaded.model.config, "max_position_embeddings", None)

    @property
    def signature(self) -> list[Any]:
        """What an answer depends on besides its prompt."""
        return [self._identity, self._sampling.signature, self._batch_size]

    def answers(
        self, prompts: Sequence[Sequence[Message]], done: Iterable[int] = ()
    ) -> Iterator[list[tuple[int, str]]]:
        """Answer all prompts; yields a batch of (index, answer) as each is finished.

        The batches are a function of the prompts alone, and a batch of which every index is in `done` is skipped:
        a run that was interrupted gives the same answers as one that was not.
        """
        encoded = [encode_prompt(self._tokenizer, prompt) for prompt in prompts]
        for index, ids in enumerate(encoded):
            self._check_length(ids, f"prompt {index + 1}")
        order = sorted(range(len(encoded)), key=lambda index: (len(encoded[index]), index))
        finished = set(done)
        for start in range(0, len(order), self._batch_size):
            batch = order[start : start + self._batch_size]
            if not finished.issuperset(batch):
                yield list(zip(batch, self._generate([encoded[index] for index in batch]), strict=True))

    def stream(self, messages: Sequence[Message]) -> Iterator[str]:
        """The answer to one dialogue, piece by piece as it is generated."""
        import torch
        from transformers import TextIteratorStreamer

        ids = encode_prompt(self._tokenizer, messages)
        self._check_length(ids, "the dialogue")
        streamer = TextIteratorStreamer(self._tokenizer, skip_prompt=True, skip_special_tokens=True)
        inputs = torch.tensor([ids], device=self._model.device)
        failed: list[Exception] = []
        stopped = Event()

        def work() -> None:
            try:
                self._generate_ids(inputs, torch.ones_like(inputs), [ids], streamer, stopped)
            except Exception as error:  # noqa: BLE001 (raised again below, in the thread that waits for the text)
                failed.append(error)
                streamer.end()

        thread = Thread(target=work, daemon=True)
        thread.start()
        try:
            yield from streamer
        finally:  # also when nobody listens any more (Ctrl-C): a thread left running breaks the interpreter's end
            stopped.set()
            thread.join()
        if failed:
            raise failed[0]

    def fits(self, messages: Sequence[Message]) -> bool:
        """Whether a dialogue and its answer fit the model's window."""
        length = len(encode_prompt(self._tokenizer, messages)) + self._sampling.max_new_tokens
        return self._window is None or length <= self._window

    def _check_length(self, ids: Sequence[int], what: str) -> None:
        if self._window is not None and len(ids) + self._sampling.max_new_tokens > self._window:
            raise UserError(
                f"{what} has {len(ids)} tokens; with {self._sampling.max_new_tokens} new ones that is more than the "
                f"model's window of {self._window}; shorten it or lower max_new_tokens"
            )

    def _generate(self, batch: list[list[int]]) -> list[str]:
        import torch

        width = max(map(len, batch))
        pad = self._tokenizer.pad_token_id
        device = self._model.device
        ids = torch.tensor([[pad] * (width - len(row)) + row for row in batch], device=device)
        mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in batch], device=device)
        output = self._generate_ids(ids, mask, batch)[:, width:]
        ended = torch.isin(output, torch.tensor(self._end_tokens(), device=device)).any(dim=1).tolist()
        texts: list[str] = self._tokenizer.batch_decode(output, skip_special_tokens=True)
        said = [text.rstrip("\ufffd").strip() for text in texts]  # the limit may fall inside a character
        return [text if whole else CutOff(text) for text, whole in zip(said, ended, strict=True)]

    def _generate_ids(
        self,
        ids: Any,
        mask: Any,
        prompts: Sequence[Sequence[int]],
        streamer: Any = None,
        stopped: Event | None = None,
    ) -> Any:
        import torch
        from transformers import StoppingCriteriaList

        ends = self._end_tokens()
        with torch.inference_mode(), _without_defaults(self._model):
            return self._model.generate(
                input_ids=ids,
                attention_mask=mask,
                max_new_tokens=self._sampling.max_new_tokens,
                do_sample=False,  # where a token is drawn, `_Draw` does it
                logits_processor=self._processors(ids.shape[1], prompts),
                pad_token_id=self._tokenizer.pad_token_id,
                eos_token_id=ends,
                streamer=streamer,
                stopping_criteria=StoppingCriteriaList([_Stop(stopped)] if stopped else []),
            )

    def _processors(self, width: int, prompts: Sequence[Sequence[int]]) -> Any:
        """The penalty on what the answer has said already (the prompt, with padding and turn ends, is free); the draw.

        Args:
            width: of the batch of prompts.
        """
        from transformers import LogitsProcessorList, RepetitionPenaltyLogitsProcessor

        found: list[Any] = []
        if self._sampling.repetition_penalty != 1.0:
            penalty = self._sampling.repetition_penalty
            found.append(RepetitionPenaltyLogitsProcessor(penalty, prompt_ignore_length=width))
        if self._sampling.temperature:
            found.append(_Draw(self._sampling, prompts))
        return LogitsProcessorList(found)

    def _end_tokens(self) -> list[int]:
        """What ends an answer: the tokenizer's end, the template's end of turn, and what the model's authors list."""
        listed = self._model.generation_config.eos_token_id
        own = listed if isinstance(listed, list) else [listed]
        found = {self._tokenizer.eos_token_id, end_of_turn(self._tokenizer), *own}
        return sorted(token for token in found if token is not None)
