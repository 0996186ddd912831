"""Baichuan's two kinds of model against a slow forward written from the definition, and what users do with them."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, StaticCache

from pediatricsgpt.models import baichuan
from pediatricsgpt.models.baichuan import BaichuanConfig
from pediatricsgpt.models.baichuan.modelling import BaichuanForCausalLM, NormHead
from pediatricsgpt.models.baichuan.positions import alibi_slopes
from pediatricsgpt.models.segments import sharing_prompts, use_segments

VARIANTS = ["rotary", "alibi"]
HEADS, WIDTH, VOCABULARY = 6, 48, 97  # six heads: no power of two, like the forty of the 13B
SLOPES = [2.0**-2, 2.0**-4, 2.0**-6, 2.0**-8, 2.0**-1, 2.0**-3]
PUBLISHED_7B = {
    "architectures": ["BaichuanForCausalLM"],
    "auto_map": {
        "AutoConfig": "configuration_baichuan.BaichuanConfig",
        "AutoModelForCausalLM": "modeling_baichuan.BaichuanForCausalLM",
    },
    "tokenizer_class": "BaichuanTokenizer",
    "bos_token_id": 1,
    "eos_token_id": 2,
    "hidden_act": "silu",
    "hidden_size": 4096,
    "initializer_range": 0.02,
    "intermediate_size": 11008,
    "max_position_embeddings": 4096,
    "model_max_length": 4096,
    "model_type": "baichuan",
    "num_attention_heads": 32,
    "num_hidden_layers": 32,
    "pad_token_id": 0,
    "rms_norm_eps": 1e-06,
    "_from_model_config": True,
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
    "use_cache": True,
    "vocab_size": 125696,
}
PUBLISHED_13B = {
    **{key: value for key, value in PUBLISHED_7B.items() if key != "max_position_embeddings"},
    "gradient_checkpointing": False,
    "hidden_size": 5120,
    "intermediate_size": 13696,
    "num_attention_heads": 40,
    "num_hidden_layers": 40,
}


def small(variant: str, attention: str = "sdpa") -> Any:
    """A model of two layers with weights large enough for every part to matter."""
    config = BaichuanConfig(
        vocab_size=VOCABULARY,
        hidden_size=WIDTH,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=HEADS,
        max_position_embeddings=128,
        position_embedding=variant,
    )
    config._attn_implementation = attention
    torch.manual_seed(5)
    model = BaichuanForCausalLM(config)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            weight.uniform_(0.5, 1.5) if "norm" in name else weight.normal_(std=0.2)
    return model.eval()


@pytest.fixture(params=VARIANTS)
def model(request: pytest.FixtureRequest) -> Any:
    return small(request.param)


def some_ids(rows: int, length: int) -> torch.Tensor:
    return torch.randint(3, VOCABULARY, (rows, length), generator=torch.Generator().manual_seed(11))


def slow_logits(model: Any, ids: list[int]) -> torch.Tensor:
    """Logits [length, vocabulary] in float64, one head and one pair of tokens at a time."""
    weights = {name: weight.detach().double() for name, weight in model.state_dict().items()}
    size = WIDTH // HEADS

    def norm(x: torch.Tensor, name: str) -> torch.Tensor:
        return torch.stack([row / math.sqrt(float((row**2).mean()) + 1e-6) for row in x]) * weights[name + ".weight"]

    def turned(vector: torch.Tensor, place: int) -> torch.Tensor:
        pairs = torch.complex(vector[: size // 2], vector[size // 2 :])
        angle = torch.tensor([place / 10000 ** (2 * i / size) for i in range(size // 2)], dtype=torch.float64)
        pairs = pairs * torch.exp(1j * angle)
        return torch.cat([pairs.real, pairs.imag])

    def attention(x: torch.Tensor, layer: str) -> torch.Tensor:
        rotary = model.config.position_embedding == "rotary"
        packed = x @ weights[layer + "W_pack.weight"].T
        out = torch.zeros_like(x)
        for head in range(HEADS):
            q, k, v = (packed[:, part * WIDTH + head * size : part * WIDTH + (head + 1) * size] for part in range(3))
            if rotary:
                q, k = (torch.stack([turned(row, place) for place, row in enumerate(rows)]) for rows in (q, k))
            for t in range(len(x)):
                bias = [0.0 if rotary else -SLOPES[head] * (t - s) for s in range(t + 1)]
                scores = torch.stack([q[t] @ k[s] / math.sqrt(size) + bias[s] for s in range(t + 1)])
                out[t, head * size : (head + 1) * size] = scores.softmax(0) @ v[: t + 1]
        return out @ weights[layer + "o_proj.weight"].T

    x = weights["model.embed_tokens.weight"][ids]
    for index in range(model.config.num_hidden_layers):
        layer = f"model.layers.{index}."
        x = x + attention(norm(x, layer + "input_layernorm"), layer + "self_attn.")
        h = norm(x, layer + "post_attention_layernorm")
        gate, up = h @ weights[layer + "mlp.gate_proj.weight"].T, h @ weights[layer + "mlp.up_proj.weight"].T
        x = x + (gate * gate.sigmoid() * up) @ weights[layer + "mlp.down_proj.weight"].T
    head = weights["lm_head.weight"]
    return norm(x, "model.norm") @ (head / (head**2).sum(1, keepdim=True).sqrt()).T


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_logits_equal_the_definition(variant: str, attention: str) -> None:
    model, ids = small(variant, attention), some_ids(2, 23)
    with torch.no_grad():
        logits = model(ids).logits
    for row in range(2):
        expected = slow_logits(model, ids[row].tolist())
        assert expected.abs().max() > 1  # else agreement would mean little
        torch.testing.assert_close(logits[row].double(), expected, atol=1e-5, rtol=1e-5)


def test_forty_heads_have_the_published_slopes() -> None:
    slopes = alibi_slopes(40)
    assert len(slopes) == 40
    assert slopes[:32] == pytest.approx([2 ** (-head / 4) for head in range(1, 33)], rel=1e-15)
    assert slopes[32:] == pytest.approx([2 ** (-head / 8) for head in (1, 3, 5, 7, 9, 11, 13, 15)], rel=1e-15)
    assert alibi_slopes(HEADS) == SLOPES
    assert alibi_slopes(8) == [2.0**-head for head in range(1, 9)]


def test_published_files_tell_the_sizes_apart() -> None:
    small_one, large_one = BaichuanConfig(**PUBLISHED_7B), BaichuanConfig(**PUBLISHED_13B)
    assert (small_one.position_embedding, large_one.position_embedding) == ("rotary", "alibi")
    assert small_one.normalized_head
    assert large_one.normalized_head
    assert large_one.max_position_embeddings == 4096
    assert not BaichuanConfig(**{**PUBLISHED_7B, "vocab_size": 64000}).normalized_head
    narrow = {"hidden_size": 8, "num_attention_heads": 4}
    assert BaichuanConfig(**{**PUBLISHED_7B, **narrow}).position_embedding == "rotary"
    assert BaichuanConfig(**{**PUBLISHED_13B, **narrow}).position_embedding == "alibi"
    assert BaichuanConfig.from_dict(large_one.to_dict()).position_embedding == "alibi"


def test_shapes_that_no_baichuan_has_are_refused() -> None:
    with pytest.raises(Exception, match="not a multiple"):
        BaichuanConfig(hidden_size=50, num_attention_heads=6)
    with pytest.raises(Exception, match="position_embedding is 'learned'"):
        BaichuanConfig(position_embedding="learned")


def test_parameters_are_named_and_shaped_as_published(model: Any) -> None:
    layer = {
        "self_attn.W_pack.weight": (3 * WIDTH, WIDTH),
        "self_attn.o_proj.weight": (WIDTH, WIDTH),
        "mlp.gate_proj.weight": (64, WIDTH),
        "mlp.up_proj.weight": (64, WIDTH),
        "mlp.down_proj.weight": (WIDTH, 64),
        "input_layernorm.weight": (WIDTH,),
        "post_attention_layernorm.weight": (WIDTH,),
    }
    expected: dict[str, tuple[int, ...]] = {
        f"model.layers.{n}.{name}": shape for n in range(2) for name, shape in layer.items()
    }
    expected |= {"model.embed_tokens.weight": (VOCABULARY, WIDTH), "lm_head.weight": (VOCABULARY, WIDTH)}
    expected |= {"model.norm.weight": (WIDTH,)}
    assert {name: tuple(weight.shape) for name, weight in model.state_dict().items()} == expected


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_a_cache_changes_nothing(variant: str, attention: str) -> None:
    model, ids = small(variant, attention), some_ids(2, 20)
    with torch.no_grad():
        whole = model(ids, use_cache=False).logits
        out = model(ids[:, :7])
        steps = [out.logits]
        for piece in (ids[:, 7:12], *ids[:, 12:].split(1, dim=1)):
            out = model(piece, past_key_values=out.past_key_values)
            steps.append(out.logits)
    torch.testing.assert_close(torch.cat(steps, 1), whole, atol=1e-5, rtol=1e-5)


def test_a_static_cache_changes_nothing(model: Any) -> None:
    ids = some_ids(2, 12)
    cache = StaticCache(config=model.config, max_cache_len=16)
    with torch.no_grad():
        whole = model(ids, use_cache=False).logits
        parts = [model(piece, past_key_values=cache).logits for piece in (ids[:, :8], *ids[:, 8:].split(1, dim=1))]
    torch.testing.assert_close(torch.cat(parts, 1), whole, atol=1e-5, rtol=1e-5)


def test_generation_is_the_same_with_cache_without_and_padded(model: Any) -> None:
    ids = some_ids(1, 9)
    options: dict[str, Any] = {"max_new_tokens": 12, "do_sample": False, "eos_token_id": None, "pad_token_id": 0}
    alone = model.generate(ids, attention_mask=torch.ones_like(ids), **options)
    without = model.generate(ids, attention_mask=torch.ones_like(ids), use_cache=False, **options)
    padded = torch.cat([torch.zeros(1, 4, dtype=torch.long), ids], 1)
    beside = torch.cat([padded, some_ids(1, 13)])
    mask = torch.ones_like(beside)
    mask[0, :4] = 0
    together = model.generate(beside, attention_mask=mask, **options)
    assert alone.tolist() == without.tolist()
    assert together[0, 4:].tolist() == alone[0].tolist()


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_left_padding_changes_nothing(variant: str, attention: str) -> None:
    model, ids = small(variant, attention), some_ids(1, 15)
    padded = torch.cat([torch.zeros(1, 6, dtype=torch.long), ids], 1)
    mask = (torch.arange(21) >= 6).long()[None]
    with torch.no_grad():
        alone = model(ids).logits
        behind = model(padded, attention_mask=mask, position_ids=(mask.cumsum(-1) - 1).clamp(min=0)).logits
        unnumbered = model(padded, attention_mask=mask).logits
    torch.testing.assert_close(behind[:, 6:], alone, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(unnumbered[:, 6:], alone, atol=1e-5, rtol=1e-5)
    assert behind.isfinite().all()


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("attention", ["eager", "sdpa", "segments"])
def test_packed_documents_do_not_see_each_other(variant: str, attention: str) -> None:
    model = small(variant, "sdpa" if attention == "segments" else attention)
    if attention == "segments":
        use_segments(model)
    documents = [some_ids(1, length) for length in (5, 11, 1, 7)]
    positions = torch.cat([torch.arange(part.shape[1]) for part in documents])[None]
    with torch.no_grad():
        for cached in (False, True):
            packed = model(torch.cat(documents, 1), position_ids=positions, use_cache=cached).logits
            alone = torch.cat([model(part, use_cache=cached).logits for part in documents], 1)
            torch.testing.assert_close(packed, alone, atol=1e-5, rtol=1e-5)


def test_packed_documents_without_a_mask_of_all_tokens_give_the_same_gradients(model: Any) -> None:
    ids, positions = some_ids(1, 18), torch.cat([torch.arange(10), torch.arange(8)])[None]
    gradients = []
    for implementation in ("sdpa", "segments"):
        if implementation == "segments":
            use_segments(model)
        model.zero_grad()
        model(ids, position_ids=positions, labels=ids).loss.backward()
        gradients.append([weight.grad.clone() for weight in model.parameters()])
    for masked, segmented in zip(*gradients, strict=True):
        torch.testing.assert_close(segmented, masked, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_prompt_is_shared_as_if_it_stood_before_each_answer_or_refused(variant: str) -> None:
    """ALiBi takes distances between places in the row, which a shared prompt would make others; nothing is dropped."""
    model = small(variant, "sdpa")
    use_segments(model)
    first, second = some_ids(1, 11), some_ids(1, 17)[:, 11:]
    packed = {
        "input_ids": torch.cat([first, second], 1),
        "position_ids": torch.cat([torch.arange(11), torch.arange(4, 10)])[None],
    }
    with torch.no_grad(), sharing_prompts((0, 4)):
        if variant == "alibi":
            with pytest.raises(ValueError, match="shared prompts are not known to the ALiBi"):
                model(**packed)
            return
        shared = model(**packed).logits[:, 11:]
    with torch.no_grad():
        alone = model(torch.cat([first[:, :4], second], 1)).logits[:, 4:]
    torch.testing.assert_close(shared, alone, atol=1e-5, rtol=1e-5)


def test_generation_goes_on_after_training_on_packed_documents(model: Any) -> None:
    ids = some_ids(1, 9)
    options: dict[str, Any] = {"max_new_tokens": 8, "do_sample": False, "eos_token_id": None, "pad_token_id": 0}
    before = model.generate(ids, attention_mask=torch.ones_like(ids), **options)
    use_segments(model)
    assert model.generate(ids, attention_mask=torch.ones_like(ids), **options).tolist() == before.tolist()


@pytest.mark.parametrize("reentrant", [False, True])
def test_gradient_checkpointing_gives_the_same_gradients(model: Any, reentrant: bool) -> None:
    ids, gradients = some_ids(2, 10), []
    for checkpointing in (False, True):
        if checkpointing:
            model.gradient_checkpointing_enable({"use_reentrant": reentrant})
        model.train().zero_grad()
        model(ids, labels=ids).loss.backward()
        gradients.append([weight.grad.clone() for weight in model.parameters()])
    for plain, checkpointed in zip(*gradients, strict=True):
        torch.testing.assert_close(checkpointed, plain, atol=1e-7, rtol=1e-6)


def test_the_loss_is_the_mean_over_labelled_next_tokens(model: Any) -> None:
    ids = some_ids(2, 8)
    labels = ids.clone()
    labels[:, :3] = -100
    out = model(ids, labels=labels)
    chosen = out.logits.log_softmax(-1)[:, :-1].gather(-1, ids[:, 1:, None])[:, 2:]
    torch.testing.assert_close(out.loss, -chosen.mean())


def test_only_the_logits_asked_for_are_computed(model: Any) -> None:
    ids = some_ids(2, 8)
    with torch.no_grad():
        whole = model(ids).logits
        torch.testing.assert_close(model(ids, logits_to_keep=2).logits, whole[:, -2:])
        torch.testing.assert_close(model(ids, logits_to_keep=torch.tensor([1, 5])).logits, whole[:, [1, 5]])


def test_the_length_of_a_head_row_has_no_effect_and_the_stored_weight_stays() -> None:
    model, ids = small("rotary"), some_ids(1, 6)
    with torch.no_grad():
        before = model(ids).logits
        model.lm_head.weight[7] *= 30
        stored = model.lm_head.weight.clone()
        torch.testing.assert_close(model(ids).logits, before)
        assert torch.equal(model.lm_head.weight, stored)
        torch.testing.assert_close(model.train()(ids).logits, before)
    model(ids, labels=ids).loss.backward()
    row = model.lm_head.weight
    along = (row.grad * row).sum(-1) / (row.grad.norm(dim=-1) * row.norm(dim=-1))
    assert along.abs().max() < 1e-4  # only the direction is trained


def test_a_folded_head_is_a_plain_linear_layer_with_the_same_logits() -> None:
    model, ids = small("alibi"), some_ids(1, 6)
    with torch.no_grad():
        before = model(ids).logits
        model.lm_head.fold()
        torch.testing.assert_close(model(ids).logits, before)
        hidden = model.model(ids).last_hidden_state
        torch.testing.assert_close(hidden @ model.lm_head.weight.T, before)


def test_the_first_generation_has_a_plain_head() -> None:
    config = BaichuanConfig(**{**PUBLISHED_13B, "hidden_size": 16, "num_attention_heads": 2, "num_hidden_layers": 1})
    with torch.device("meta"):
        assert isinstance(BaichuanForCausalLM(config).lm_head, NormHead)
        config.normalized_head = False
        assert type(BaichuanForCausalLM(config).lm_head) is torch.nn.Linear


def test_a_resized_vocabulary_keeps_the_norm_of_the_head() -> None:
    model, ids = small("alibi"), some_ids(1, 6)
    with torch.no_grad():
        before = model(ids).logits
        model.resize_token_embeddings(VOCABULARY + 5, mean_resizing=False)
        after = model(ids).logits
    assert isinstance(model.lm_head, NormHead)
    torch.testing.assert_close(after[..., :VOCABULARY], before)


def test_half_precision_training_behind_left_padding_stays_finite(model: Any) -> None:
    ids = some_ids(2, 9)
    mask = torch.ones_like(ids)
    mask[0, :4] = 0
    with torch.autocast("cpu", torch.bfloat16):
        loss = model.train()(ids, attention_mask=mask, labels=ids.masked_fill(mask == 0, -100)).loss
    loss.backward()
    assert all(weight.grad.isfinite().all() for weight in model.parameters())
    wide = model(ids, attention_mask=mask, labels=ids.masked_fill(mask == 0, -100)).loss
    assert loss.item() == pytest.approx(wide.item(), rel=0.02)


def test_attention_without_alibi_is_refused_for_the_large_model() -> None:
    model = small("alibi")
    model.config._attn_implementation = "flex_attention"
    with pytest.raises(ValueError, match="does not know the ALiBi positions"):
        model(some_ids(1, 4))


def test_hidden_states_and_attentions_are_given_on_request() -> None:
    model = small("rotary", "eager")
    out = model(some_ids(1, 5), output_hidden_states=True, output_attentions=True)
    assert [tuple(state.shape) for state in out.hidden_states] == [(1, 5, WIDTH)] * 3
    assert [tuple(weights.shape) for weights in out.attentions] == [(1, HEADS, 5, 5)] * 2


def test_a_saved_model_opens_with_the_same_logits_and_without_remote_code(model: Any, tmp_path: Path) -> None:
    baichuan.register()
    model.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    # As in the published folders: Python files that are not ours to run.
    (tmp_path / "config.json").write_text(json.dumps({**config, "auto_map": PUBLISHED_7B["auto_map"]}))
    assert type(AutoConfig.from_pretrained(tmp_path)) is BaichuanConfig
    again = AutoModelForCausalLM.from_pretrained(tmp_path)
    ids = some_ids(2, 9)
    with torch.no_grad():
        assert torch.equal(again.eval()(ids).logits, model(ids).logits)
    assert type(again) is BaichuanForCausalLM


@pytest.mark.parametrize("targets", ["ffn", "attention"])
def test_experts_go_on_it_and_come_back_as_they_were(model: Any, targets: str, tmp_path: Path) -> None:
    from peft import PeftModel

    from pediatricsgpt.experts import ExpertsConfig, ExpertsLinear, get_peft_model

    ids = some_ids(2, 9)
    with torch.no_grad():
        before = model(ids).logits
    adapted = get_peft_model(model, ExpertsConfig(r=2, target_modules=targets, task_type="CAUSAL_LM")).eval()
    found = {name.split(".")[-1] for name, module in adapted.named_modules() if isinstance(module, ExpertsLinear)}
    assert found == ({"W_pack", "o_proj"} if targets == "attention" else {"gate_proj", "up_proj", "down_proj"})
    with torch.no_grad():
        assert torch.equal(adapted(ids).logits, before)
        for name, weight in adapted.named_parameters():
            if "experts_" in name:
                weight.normal_(std=0.3)
        changed = adapted(ids).logits
    assert (changed - before).abs().max() > 1e-2
    adapted.save_pretrained(tmp_path)
    variant = model.config.position_embedding
    loaded = PeftModel.from_pretrained(small(variant), str(tmp_path)).eval()
    with torch.no_grad():
        assert torch.equal(loaded(ids).logits, changed)
    adapted.train()(ids, labels=ids).loss.backward()
    trained = [weight.grad for name, weight in adapted.named_parameters() if "experts_" in name]
    assert all(gradient is not None and gradient.abs().sum() > 0 for gradient in trained)
