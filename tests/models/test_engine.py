"""Generation: batches, resuming, streaming."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model

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


def _penalised(loaded: Loaded, messages: Sequence[Message], tokens: int, penalty: float, prompt: bool) -> str:
    """The obvious loop with the penalty of CTRL: what was said is divided where it is likely, else multiplied."""
    ids = encode_prompt(loaded.tokenizer, messages)
    start = len(ids)
    for _ in range(tokens):
        with torch.no_grad():
            scores = loaded.model(torch.tensor([ids])).logits[0, -1]
        for said in set(ids if prompt else ids[start:]):
            scores[said] = scores[said] / penalty if scores[said] > 0 else scores[said] * penalty
        ids.append(int(scores.argmax()))
        if ids[-1] == loaded.tokenizer.eos_token_id:
            break
    return str(loaded.tokenizer.decode(ids[start:], skip_special_tokens=True)).rstrip("\ufffd").strip()


def _answers(engine: Engine, prompts: Sequence[Sequence[Message]]) -> list[str]:
    found = dict(pair for batch in engine.answers(prompts) for pair in batch)
    return [found[index] for index in range(len(prompts))]


def test_the_penalty_is_on_the_answer_alone(model_folder: Path) -> None:
    """With the prompt counted, its turn ends would make the end of the answer unlikely, by how much it was padded."""
    loaded = load(model_folder, dtype="float32")  # fresh weights, which say the prompt's words again
    asked = [prompt.messages for prompt in PROMPTS]
    sampling = Sampling(max_new_tokens=12, repetition_penalty=4.0)
    expected = [_penalised(loaded, messages, 12, 4.0, prompt=False) for messages in asked]
    assert expected != [_penalised(loaded, messages, 12, 4.0, prompt=True) for messages in asked]
    assert expected != [_penalised(loaded, messages, 12, 1.0, prompt=False) for messages in asked]
    assert _answers(Engine(loaded, sampling, batch_size=5), asked) == expected
    assert _answers(Engine(loaded, sampling, batch_size=1), asked) == expected


RECOMMENDED: dict[str, Any] = {
    "repetition_penalty": 1.1,
    "no_repeat_ngram_size": 1,
    "top_k": 2,
    "top_p": 0.3,
    "suppress_tokens": list(range(0, 6000, 2)),
}


@pytest.mark.parametrize("adapted", [False, True])
@pytest.mark.parametrize("setting", RECOMMENDED)
def test_what_the_models_authors_recommend_is_left_out(loaded: Loaded, setting: str, adapted: bool) -> None:
    asked = [prompt.messages for prompt in PROMPTS]
    model = get_peft_model(copy.deepcopy(loaded.model), LoraConfig(r=1)) if adapted else copy.deepcopy(loaded.model)
    engine = Engine(Loaded(model, loaded.tokenizer, loaded.name), Sampling(max_new_tokens=8), batch_size=5)
    drawing = Engine(Loaded(model, loaded.tokenizer, loaded.name), Sampling(max_new_tokens=8, temperature=2.0))
    torch.manual_seed(4)
    expected = _answers(engine, asked), _answers(drawing, asked)
    base = model.get_base_model() if adapted else model
    setattr(base.generation_config, setting, RECOMMENDED[setting])
    torch.manual_seed(4)
    assert (_answers(engine, asked), _answers(drawing, asked)) == expected
    assert getattr(base.generation_config, setting) == RECOMMENDED[setting]  # for an export, it stays


def test_the_end_that_the_models_authors_list_ends_an_answer(loaded: Loaded) -> None:
    model = copy.deepcopy(loaded.model)
    ids = encode_prompt(loaded.tokenizer, PROMPTS[0].messages)
    with torch.no_grad():
        first = int(model(torch.tensor([ids])).logits[0, -1].argmax())
    model.generation_config.eos_token_id = [first]
    (answer,) = _answers(Engine(Loaded(model, loaded.tokenizer, loaded.name), SAMPLING), [PROMPTS[0].messages])
    assert answer == loaded.tokenizer.decode([first], skip_special_tokens=True).strip()
    assert answer != _slow_greedy(loaded, list(PROMPTS[0].messages), 6)


def test_a_dialogue_fits_with_its_answer_or_not(loaded: Loaded) -> None:
    engine = Engine(loaded, SAMPLING)
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
