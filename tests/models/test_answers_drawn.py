"""Answers above temperature 0: drawn from the right distribution, and the same ones for the same seed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from pediatricsgpt.models.answers import CutOff, Prompt, answer_all
from pediatricsgpt.models.encode import encode_prompt
from pediatricsgpt.models.engine import Engine, Sampling, _Draw
from pediatricsgpt.models.load import Loaded, load
from pediatricsgpt.records import Message

ASKED = ["发烧", "孩子咳嗽三天了怎么办", "黄疸", "宝宝六个月，拉肚子两天，需要去医院吗", "疫苗", "夜里哭闹", "出疹子"]
PROMPTS = [Prompt(str(number), [Message(role="user", content=text)]) for number, text in enumerate(ASKED)]
DRAWN = Sampling(max_new_tokens=6, temperature=1.5, seed=7)


@pytest.fixture(scope="module")
def loaded(model_folder: Path) -> Loaded:
    """A model whose layers do something, with answers of several tokens."""
    found = load(model_folder, dtype="float32")
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for name, weight in found.model.named_parameters():
            if "layers" in name and weight.dim() == 2:
                weight.add_(torch.randn(weight.shape, generator=generator) * 0.3)
    return found


def _answers(engine: Engine, prompts: Sequence[Prompt] = PROMPTS) -> dict[str, str]:
    asked = [prompt.messages for prompt in prompts]
    return {prompts[index].id: answer for batch in engine.answers(asked) for index, answer in batch}


def test_a_seed_gives_the_same_answers_whatever_was_done_before(loaded: Loaded) -> None:
    first = _answers(Engine(loaded, DRAWN))
    torch.rand(17)
    assert _answers(Engine(loaded, DRAWN)) == first
    assert _answers(Engine(loaded, Sampling(6, 1.5, seed=8))) != first
    assert len(set(first.values())) > 1


def test_an_answer_does_not_depend_on_those_that_are_drawn_beside_it(loaded: Loaded) -> None:
    first = _answers(Engine(loaded, DRAWN, batch_size=7))
    assert _answers(Engine(loaded, DRAWN, batch_size=1)) == first
    assert _answers(Engine(loaded, DRAWN, batch_size=3), PROMPTS[::-1]) == first
    assert _answers(Engine(loaded, DRAWN, batch_size=2), PROMPTS[2:5]) == {key: first[key] for key in "234"}


def test_drawing_leaves_the_process_and_its_own_source_alone(loaded: Loaded) -> None:
    torch.manual_seed(3)
    expected = torch.rand(5)
    torch.manual_seed(3)
    _answers(Engine(loaded, DRAWN))
    assert torch.equal(torch.rand(5), expected)


def test_without_a_seed_answers_differ_from_time_to_time(loaded: Loaded) -> None:
    engine = Engine(loaded, Sampling(6, 1.5))
    assert _answers(engine) != _answers(engine)


def test_an_interrupted_run_draws_the_same_answers(loaded: Loaded, tmp_path: Path) -> None:
    whole, torn = tmp_path / "whole.jsonl", tmp_path / "torn.jsonl"
    answers = answer_all(Engine(loaded, DRAWN, batch_size=2), PROMPTS, whole)
    lines = whole.read_bytes().splitlines(keepends=True)
    torn.write_bytes(b"".join(lines[:4]) + lines[4][:9])
    torch.rand(3)
    assert answer_all(Engine(loaded, DRAWN, batch_size=2), PROMPTS, torn) == answers


def test_a_stream_draws_what_a_batch_draws(loaded: Loaded) -> None:
    engine = Engine(loaded, DRAWN)
    assert "".join(engine.stream(PROMPTS[1].messages)).strip() == _answers(engine)["1"]


@pytest.mark.parametrize("temperature", [0.7, 1.5])
def test_a_token_is_drawn_from_the_softmax_of_the_likeliest(temperature: float) -> None:
    """4,000 draws against the distribution itself: no token strays by more than five standard errors."""
    draws = 4000
    logits = torch.randn(300, generator=torch.Generator().manual_seed(1)) * 2
    values, places = logits.topk(50)
    expected = torch.zeros(300).scatter(0, places, torch.softmax(values / temperature, 0))
    draw = _Draw(Sampling(1, temperature, seed=5), [[number] for number in range(draws)])
    drawn = draw(None, logits.expand(draws, -1)).argmax(dim=1)
    shares = torch.bincount(drawn, minlength=300) / draws
    error = (expected * (1 - expected) / draws).sqrt().clamp(min=1 / draws)
    assert ((shares - expected).abs() / error).max() < 5
    assert set(drawn.tolist()) <= set(places.tolist())
    assert expected.max() < 0.9  # else this would say nothing


def test_an_answer_that_was_cut_off_says_so(loaded: Loaded) -> None:
    short = _answers(Engine(loaded, Sampling(2)))
    assert all(isinstance(answer, CutOff) for answer in short.values())
    ids = encode_prompt(loaded.tokenizer, PROMPTS[0].messages)
    with torch.no_grad():
        first = int(loaded.model(torch.tensor([ids])).logits[0, -1].argmax())
    before = loaded.model.generation_config.eos_token_id
    loaded.model.generation_config.eos_token_id = [first]
    try:
        ended = _answers(Engine(loaded, Sampling(2)), PROMPTS[:1])["0"]
    finally:
        loaded.model.generation_config.eos_token_id = before
    assert not isinstance(ended, CutOff)


@pytest.mark.check
def test_another_process_draws_the_same(model_folder: Path) -> None:
    code = (
        "import sys\nfrom pediatricsgpt.models.engine import Engine, Sampling\n"
        "from pediatricsgpt.models.load import load\n"
        "engine = Engine(load(sys.argv[1]), Sampling(6, 1.5, seed=7))\n"
        "asked = [[{'role': 'user', 'content': '发烧'}]]\n"
        "print([ascii(answer) for batch in engine.answers(asked) for _, answer in batch])"
    )
    said = {
        subprocess.run(
            [sys.executable, "-c", code, str(model_folder)],
            capture_output=True,
            text=True,
            check=True,
            env={"PYTHONHASHSEED": seed, "OMP_NUM_THREADS": threads, "HF_HUB_OFFLINE": "1"},
        ).stdout
        for seed, threads in (("1", "1"), ("2", "2"))
    }
    assert len(said) == 1
