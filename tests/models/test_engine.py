"""Generation: batches, resuming, streaming."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from pediatricsgpt.errors import UserError
from pediatricsgpt.models.answers import Prompt, answer_all
from pediatricsgpt.models.encode import encode_prompt
from pediatricsgpt.models.engine import Engine, Sampling
from pediatricsgpt.models.load import Loaded, load
from pediatricsgpt.records import Message

PROMPTS = [
    Prompt(str(number), [Message(role="user", content=text)])
    for number, text in enumerate(
        ["发烧", "孩子咳嗽三天了怎么办", "黄疸", "宝宝六个月，拉肚子两天，需要去医院吗", "疫苗"]
    )
]
SAMPLING = Sampling(max_new_tokens=6)


@pytest.fixture(scope="module")
def loaded(model_folder: Path) -> Loaded:
    """A model whose layers do something: fresh weights with tied embeddings only repeat the last token."""
    found = load(model_folder, dtype="float32")
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for name, weight in found.model.named_parameters():
            if "layers" in name and weight.dim() == 2:
                weight.add_(torch.randn(weight.shape, generator=generator) * 0.3)
    return found


def _slow_greedy(loaded: Loaded, messages: list[Message], tokens: int) -> str:
    """The obvious loop: the likeliest token, one after the other, without cache, batch or padding."""
    ids = encode_prompt(loaded.tokenizer, messages)
    start = len(ids)
    for _ in range(tokens):
        with torch.no_grad():
            ids.append(int(loaded.model(torch.tensor([ids])).logits[0, -1].argmax()))
        if ids[-1] == loaded.tokenizer.eos_token_id:
            break
    return str(loaded.tokenizer.decode(ids[start:], skip_special_tokens=True)).strip()


def test_batched_answers_equal_the_slow_loop(loaded: Loaded, tmp_path: Path) -> None:
    answers = answer_all(Engine(loaded, SAMPLING, batch_size=3), PROMPTS, tmp_path / "a.jsonl")
    assert answers == [_slow_greedy(loaded, list(prompt.messages), 6) for prompt in PROMPTS]
    assert len(set(answers)) > 1


def test_an_interrupted_run_asks_only_what_is_missing(loaded: Loaded, tmp_path: Path) -> None:
    whole, torn = tmp_path / "whole.jsonl", tmp_path / "torn.jsonl"
    answers = answer_all(Engine(loaded, SAMPLING, batch_size=2), PROMPTS, whole)
    lines = whole.read_bytes().splitlines(keepends=True)
    torn.write_bytes(b"".join(lines[:3]) + lines[3][: len(lines[3]) // 2])
    told: list[int] = []
    assert answer_all(Engine(loaded, SAMPLING, batch_size=2), PROMPTS, torn, told.append) == answers
    assert told == [2, 2, 1]
    assert sorted(torn.read_bytes().splitlines()) == sorted(whole.read_bytes().splitlines())


@pytest.mark.parametrize("change", ["prompts", "sampling", "model"])
def test_answers_of_another_model_or_to_other_prompts_are_not_taken(
    loaded: Loaded, model_folder: Path, tmp_path: Path, change: str
) -> None:
    path = tmp_path / "a.jsonl"
    prompts = [Prompt(prompt.id, [Message(role="user", content="疫苗")]) for prompt in PROMPTS]
    before = {
        "prompts": (Engine(loaded, SAMPLING), prompts),
        "sampling": (Engine(loaded, Sampling(max_new_tokens=2)), PROMPTS),
        "model": (Engine(Loaded(loaded.model, loaded.tokenizer, str(tmp_path)), SAMPLING), PROMPTS),
    }
    answer_all(*before[change], path)
    told: list[int] = []
    answers = answer_all(Engine(loaded, SAMPLING), PROMPTS, path, told.append)
    assert told == [0, 5]
    assert answers == [_slow_greedy(loaded, list(prompt.messages), 6) for prompt in PROMPTS]


def test_a_failure_while_streaming_reaches_the_caller(loaded: Loaded, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Engine(loaded, SAMPLING)
    monkeypatch.setattr(engine, "_end_tokens", lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        list(engine.stream(PROMPTS[0].messages))


def test_the_penalty_is_on_the_answer_alone(loaded: Loaded) -> None:
    """With the prompt counted, its turn ends would make the end of the answer unlikely, by how much it was padded."""
    engine = Engine(loaded, Sampling(max_new_tokens=6, repetition_penalty=1.5), batch_size=5)
    together = dict(pair for batch in engine.answers([prompt.messages for prompt in PROMPTS]) for pair in batch)
    single = Engine(loaded, Sampling(max_new_tokens=6, repetition_penalty=1.5), batch_size=1)
    apart = dict(pair for batch in single.answers([prompt.messages for prompt in PROMPTS]) for pair in batch)
    assert together == apart
    assert engine.fits(PROMPTS[0].messages)
    assert not engine.fits([Message(role="user", content="发烧" * 200)])


def test_a_stream_says_what_the_batch_says(loaded: Loaded, tmp_path: Path) -> None:
    engine = Engine(loaded, SAMPLING)
    streamed = "".join(engine.stream(PROMPTS[1].messages)).strip()
    assert [streamed] == answer_all(engine, PROMPTS[1:2], tmp_path / "a.jsonl")


def test_a_prompt_longer_than_the_window_is_refused_not_cut(loaded: Loaded, tmp_path: Path) -> None:
    long = Prompt("long", [Message(role="user", content="发烧" * 200)])
    with pytest.raises(UserError, match="more than the model's window of 256"):
        answer_all(Engine(loaded, SAMPLING), [long], tmp_path / "a.jsonl")
