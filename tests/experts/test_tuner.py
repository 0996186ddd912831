"""The tuner inside PEFT, transformers and TRL: what a user of any other adapter expects."""

from __future__ import annotations

import json
import warnings

import pytest
import torch
from datasets import Dataset
from peft import AutoPeftModelForCausalLM, PeftConfig, PeftModel
from peft.mapping import PEFT_TYPE_TO_TUNER_MAPPING
from peft.utils import get_peft_model_state_dict
from safetensors.torch import load_file
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerFast, Qwen3ForCausalLM

from pediatricsgpt.experts import ExpertsConfig, ExpertsLinear, ExpertsModel, get_peft_model, register
from tests.fixtures import tiny_config

FFN = ("gate_proj", "up_proj", "down_proj")
ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")
PUBLIC_NAMES = ("experts_A", "experts_B", "experts_router", "experts_noise")
TOKENS = torch.arange(24).reshape(2, 12)


def tiny_base(dtype: torch.dtype = torch.float32) -> PreTrainedModel:
    torch.manual_seed(0)
    config = tiny_config("qwen3", vocab_size=64, head_dim=8, tie_word_embeddings=False)
    return Qwen3ForCausalLM(config).to(dtype).eval()


def tiny_experts(dtype: torch.dtype = torch.float32, **settings) -> PeftModel:
    """A model with an adapter that visibly changes its answers."""
    model = get_peft_model(tiny_base(dtype), ExpertsConfig(r=2, task_type="CAUSAL_LM", **settings))
    make_visible(model)
    return model.eval()


def make_visible(model: nn.Module) -> None:
    for name, weight in model.named_parameters():
        if ".experts_" in name:
            nn.init.normal_(weight, std=0.3)


@torch.no_grad()
def logits(model: nn.Module) -> torch.Tensor:
    return model(input_ids=TOKENS).logits


def targets(target_modules, **settings) -> set[str]:
    model = get_peft_model(tiny_base(), ExpertsConfig(target_modules=target_modules, **settings))
    return {name.removeprefix("base_model.model.") for name, m in model.named_modules() if isinstance(m, ExpertsLinear)}


def layer_names(parent: str, names) -> set[str]:
    return {f"model.layers.{i}.{parent}.{name}" for i in range(2) for name in names}


# --- settings ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"r": 0}, "r is the rank.*got 0"),
        ({"num_experts": 0}, "num_experts.*got 0"),
        ({"lora_alpha": 0}, "lora_alpha.*got 0"),
        ({"dropout": 1.0}, "dropout.*got 1.0"),
        ({"dropout": -0.1}, "dropout.*got -0.1"),
        ({"task_type": "CHAT"}, "Invalid task type"),
    ],
)
def test_a_setting_out_of_range_is_refused_by_name(settings, message):
    with pytest.raises(ValueError, match=message):
        ExpertsConfig(**settings)


def test_configuration_survives_save_and_load(tmp_path):
    config = ExpertsConfig(r=4, num_experts=5, dropout=0.1, noise=False, use_rslora=True, modules_to_save=["lm_head"])
    config.save_pretrained(tmp_path)
    loaded = PeftConfig.from_pretrained(tmp_path)
    assert loaded == config
    assert json.loads((tmp_path / "adapter_config.json").read_text())["peft_type"] == "UNIVERSAL_SPECIFIC_EXPERTS"


def test_saved_targets_are_sorted_names(tmp_path):
    get_peft_model(tiny_base(), ExpertsConfig(target_modules="all-linear")).save_pretrained(tmp_path)
    saved = json.loads((tmp_path / "adapter_config.json").read_text())["target_modules"]
    assert saved == sorted(saved)
    assert set(saved) == layer_names("mlp", FFN) | layer_names("self_attn", ATTENTION)


def test_registering_again_changes_nothing():
    before = dict(PEFT_TYPE_TO_TUNER_MAPPING)
    register()
    assert before == PEFT_TYPE_TO_TUNER_MAPPING
    assert PEFT_TYPE_TO_TUNER_MAPPING["UNIVERSAL_SPECIFIC_EXPERTS"] is ExpertsModel


# --- which layers get experts -----------------------------------------------------------------------------------------


def test_ffn_is_the_default_and_targets_exactly_the_ffn_linears():
    assert targets("ffn") == targets(None) == layer_names("mlp", FFN)


def test_attention_targets_exactly_the_attention_linears():
    assert targets("attention") == layer_names("self_attn", ATTENTION)


def test_all_linear_targets_all_but_the_output_head():
    assert targets("all-linear") == layer_names("mlp", FFN) | layer_names("self_attn", ATTENTION)


def test_names_words_and_patterns_select_layers_like_lora():
    assert targets(["up_proj", "attention"]) == layer_names("mlp", ["up_proj"]) | layer_names("self_attn", ATTENTION)
    assert targets(r".*layers\.1\.mlp\.up_proj") == {"model.layers.1.mlp.up_proj"}
    assert targets("ffn", exclude_modules=["up_proj"]) == layer_names("mlp", ["gate_proj", "down_proj"])


def test_a_word_that_fits_no_layer_is_refused_with_what_was_looked_for():
    with pytest.raises(ValueError, match=r"'ffn' fits no layer.*gate_proj"):
        get_peft_model(nn.Sequential(nn.Linear(4, 4)), ExpertsConfig())


@pytest.mark.parametrize(
    ("wrong", "nearest"),
    [
        (["gate_prj"], "'gate_prj' matches no layer of this model, nearest: gate_proj"),
        ("up_projection", "'up_projection' matches no layer of this model; nearest: up_proj"),
        (["mlp.donw_proj", "q_porj"], "'mlp.donw_proj' matches no layer of this model, nearest: down_proj.*q_proj"),
        (["xyzzy"], "its linear layers are down_proj, gate_proj, k_proj, lm_head, o_proj, q_proj, up_proj, v_proj"),
    ],
)
def test_names_that_match_nothing_are_refused_with_the_nearest(wrong, nearest):
    with pytest.raises(ValueError, match=nearest) as caught:
        targets(wrong)
    assert "\n" not in str(caught.value)


def test_one_name_among_several_that_matches_nothing_is_a_warning():
    with pytest.warns(UserWarning, match="'donw_proj' matches no layer of this model, nearest: down_proj"):
        assert targets(["gate_proj", "donw_proj"]) == layer_names("mlp", ["gate_proj"])


# --- weights: trained, kept in float32, saved, loaded -----------------------------------------------------------------


def test_only_the_four_public_weights_are_trained():
    model = get_peft_model(tiny_base(), ExpertsConfig())
    trained = {name for name, weight in model.named_parameters() if weight.requires_grad}
    expected = {
        f"base_model.model.{layer}.{name}.default.weight" for layer in layer_names("mlp", FFN) for name in PUBLIC_NAMES
    }
    assert trained == expected


def test_at_initialisation_the_model_equals_its_base_exactly():
    expected = logits(tiny_base())
    assert torch.equal(logits(get_peft_model(tiny_base(), ExpertsConfig()).eval()), expected)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_router_stays_float32_after_a_cast_of_the_whole_model(dtype):
    model = tiny_experts()
    model.half() if dtype == torch.float16 else model.to(dtype)
    for name, weight in model.named_parameters():
        expected = torch.float32 if "experts_router" in name or "experts_noise" in name else dtype
        assert weight.dtype == expected, name
    assert logits(model).dtype == dtype


@pytest.mark.parametrize("low_cpu_mem_usage", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_logits_are_bit_equal_after_save_and_load(tmp_path, dtype, low_cpu_mem_usage):
    model = tiny_experts(dtype)
    expected = logits(model)
    assert not torch.equal(expected, logits(tiny_base(dtype)))
    model.save_pretrained(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)  # PEFT reports missing weights as a warning
        loaded = PeftModel.from_pretrained(tiny_base(dtype), tmp_path, low_cpu_mem_usage=low_cpu_mem_usage)
    assert torch.equal(logits(loaded.eval()), expected)
    assert not any(weight.requires_grad for weight in loaded.parameters())


def test_saved_file_holds_every_weight_by_its_public_name(tmp_path):
    tiny_experts(num_experts=3).save_pretrained(tmp_path)
    saved = {name: tuple(weight.shape) for name, weight in load_file(tmp_path / "adapter_model.safetensors").items()}
    assert len(saved) == 2 * 3 * 4
    prefix = "base_model.model.model.layers.1.mlp.down_proj"
    assert saved[f"{prefix}.experts_A.weight"] == (8, 48)
    assert saved[f"{prefix}.experts_B.weight"] == (32, 8)
    assert saved[f"{prefix}.experts_router.weight"] == (3, 48)
    assert saved[f"{prefix}.experts_noise.weight"] == (3, 48)


def test_auto_class_loads_base_and_adapter(tmp_path):
    tiny_base(torch.bfloat16).save_pretrained(tmp_path / "base")
    base = Qwen3ForCausalLM.from_pretrained(tmp_path / "base")
    model = get_peft_model(base, ExpertsConfig(r=2, task_type="CAUSAL_LM")).eval()
    make_visible(model)
    model.save_pretrained(tmp_path / "adapter")
    loaded = AutoPeftModelForCausalLM.from_pretrained(tmp_path / "adapter").eval()
    assert torch.equal(logits(loaded), logits(model))


def test_modules_to_save_are_trained_and_saved(tmp_path):
    model = tiny_experts(modules_to_save=["lm_head"])
    head = model.base_model.model.lm_head.modules_to_save["default"].weight
    assert head.requires_grad
    nn.init.normal_(head)
    model.save_pretrained(tmp_path)
    assert torch.equal(logits(PeftModel.from_pretrained(tiny_base(), tmp_path).eval()), logits(model))


# --- several adapters, none, and back to the base ---------------------------------------------------------------------


def test_two_adapters_keep_their_own_routers_through_switching_saving_and_loading(tmp_path):
    model = tiny_experts()
    first = logits(model)
    model.add_adapter("second", ExpertsConfig(r=3, num_experts=2, target_modules=["up_proj"], task_type="CAUSAL_LM"))
    assert torch.equal(logits(model), first), "a new adapter is not active yet"
    assert not any(weight.requires_grad for name, weight in model.named_parameters() if ".second." in name)
    for name, weight in model.named_parameters():
        if ".second." in name:
            nn.init.normal_(weight, std=0.3)
    model.set_adapter("second")
    second = logits(model)
    assert not torch.equal(first, second)
    assert {name.split(".")[-2] for name, weight in model.named_parameters() if weight.requires_grad} == {"second"}
    model.set_adapter("default")
    assert torch.equal(logits(model), first)

    model.save_pretrained(tmp_path)
    loaded = PeftModel.from_pretrained(tiny_base(), tmp_path / "second", adapter_name="again").eval()
    assert torch.equal(logits(loaded), second)
    loaded.load_adapter(tmp_path, "other")
    loaded.set_adapter("other")
    assert torch.equal(logits(loaded), first)


def test_deleting_an_adapter_leaves_the_other_active_and_whole():
    model = tiny_experts()
    model.add_adapter("second", ExpertsConfig(r=3, num_experts=2, noise=False, task_type="CAUSAL_LM"))
    model.set_adapter("second")
    make_visible(model)
    expected = logits(model)
    model.set_adapter("default")
    with pytest.warns(UserWarning, match="Setting active adapter to second"):
        model.delete_adapter("default")
    assert torch.equal(logits(model), expected)
    assert not any(".default." in name for name, _ in model.named_parameters())


def test_a_copy_of_an_adapter_by_parameter_names_is_complete():
    model = tiny_experts()  # trainers copy a reference adapter this way
    expected = logits(model)
    model.add_adapter("ref", model.peft_config["default"])
    for name, weight in model.named_parameters():
        if ".default." in name:
            model.get_parameter(name.replace(".default.", ".ref.")).data.copy_(weight.data)
    model.set_adapter("ref")
    assert torch.equal(logits(model), expected)


def test_disabled_adapter_equals_the_base_and_comes_back():
    model, base = tiny_experts(), logits(tiny_base())
    expected = logits(model)
    with model.disable_adapter():
        assert torch.equal(logits(model), base)
    assert torch.equal(logits(model), expected)


def test_unload_gives_the_base_model_back():
    base = tiny_experts().unload()
    assert not any(isinstance(module, ExpertsLinear) for module in base.modules())
    assert torch.equal(logits(base), logits(tiny_base()))


@pytest.mark.parametrize("method", ["merge_and_unload", "merge_adapter", "unmerge_adapter"])
def test_merging_is_refused_with_its_reason_and_leaves_the_model_as_it_was(method):
    model = tiny_experts()
    expected = logits(model)
    with pytest.raises(NotImplementedError, match="gates depend on each token"):
        getattr(model, method)()
    assert torch.equal(logits(model), expected)


def test_merging_the_universal_expert_keeps_every_output_and_leaves_the_specific_ones(tmp_path):
    model = tiny_experts()
    expected = logits(model)
    model.base_model.merge_universal()
    torch.testing.assert_close(logits(model), expected, rtol=1e-5, atol=1e-5)
    model.save_pretrained(tmp_path / "specific")
    base = model.unload()
    assert not torch.equal(logits(base), logits(tiny_base())), "the universal expert is in the base now"
    loaded = PeftModel.from_pretrained(base, tmp_path / "specific").eval()
    torch.testing.assert_close(logits(loaded), expected, rtol=1e-5, atol=1e-5)
    for layer in loaded.modules():
        if isinstance(layer, ExpertsLinear):
            assert not layer.universal_update("default").any()


def test_an_adapter_of_universal_experts_alone_equals_its_merged_base():
    model = tiny_experts()
    for module in model.modules():
        if isinstance(module, ExpertsLinear):
            module.experts_B["default"].weight.data[:, 2:] = 0  # r = 2: the specific experts say nothing
    expected = logits(model)
    model.base_model.merge_universal()
    torch.testing.assert_close(logits(model.unload()), expected, rtol=1e-5, atol=1e-5)


def test_merging_the_universal_expert_is_refused_where_others_share_the_base():
    model = tiny_experts()
    model.add_adapter("second", ExpertsConfig(r=3, num_experts=2, task_type="CAUSAL_LM"))
    before = logits(tiny_base())
    with pytest.raises(NotImplementedError, match="2 adapters share"):
        model.base_model.merge_universal()
    with model.disable_adapter():
        assert torch.equal(logits(model), before)


def test_merging_the_universal_expert_into_a_tied_output_head_is_refused_and_changes_nothing():
    base = tiny_base()
    base.config.tie_word_embeddings = True
    base.lm_head.weight = base.model.embed_tokens.weight
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PEFT has something to say of tied layers, too
        model = get_peft_model(base, ExpertsConfig(r=2, target_modules=["up_proj", "lm_head"], task_type="CAUSAL_LM"))
    make_visible(model)
    before = {name: weight.clone() for name, weight in model.named_parameters()}
    shared = r"model\.embed_tokens\.weight and lm_head\.weight are one weight"
    with pytest.raises(NotImplementedError, match=shared):
        model.base_model.merge_universal()
    assert all(torch.equal(model.get_parameter(name), weight) for name, weight in before.items())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_merging_into_a_half_precision_base_rounds_the_sum_once(dtype):
    model = tiny_experts(dtype)
    layers = {name: module for name, module in model.named_modules() if isinstance(module, ExpertsLinear)}
    with torch.no_grad():
        wanted = {
            name: (layer.base_layer.weight.float() + layer.universal_update("default")).to(dtype)
            for name, layer in layers.items()
        }
    expected = logits(model).float()
    model.base_model.merge_universal()
    for name, layer in layers.items():
        assert layer.base_layer.weight.dtype == dtype
        assert torch.equal(layer.base_layer.weight, wanted[name])
    # As near as half precision is; what the universal expert did is far larger.
    assert (logits(model).float() - expected).norm() < 0.03 * expected.norm()
    assert (logits(tiny_base(dtype)).float() - expected).norm() > 0.3 * expected.norm()


def test_one_adapter_per_row_is_refused_rather_than_ignored():
    with pytest.raises(NotImplementedError, match="adapter_names"):
        tiny_experts()(input_ids=TOKENS, adapter_names=["default", "default"])


def test_status_report_of_peft_understands_the_layers():
    status = tiny_experts().get_model_status()
    assert status.num_adapter_layers == 6
    assert status.enabled
    assert status.merged_adapters == []


# --- generation and training ------------------------------------------------------------------------------------------


def test_generation_is_repeatable_and_the_same_with_and_without_cache():
    model = tiny_experts()
    options = {"max_new_tokens": 6, "do_sample": False, "pad_token_id": 0}
    first = model.generate(input_ids=TOKENS, **options)
    assert first.shape == (2, 18)
    assert torch.equal(model.generate(input_ids=TOKENS, **options), first)
    assert torch.equal(model.generate(input_ids=TOKENS, use_cache=False, **options), first)


@pytest.mark.parametrize("use_reentrant", [False, True])
def test_gradient_checkpointing_gives_the_same_gradients_noise_and_dropout_included(use_reentrant):
    def gradients(checkpointing: bool) -> dict[str, torch.Tensor]:
        model = tiny_experts(dropout=0.2).train()
        if checkpointing:
            model.gradient_checkpointing_enable({"use_reentrant": use_reentrant})
            model.enable_input_require_grads()
        torch.manual_seed(3)
        model(input_ids=TOKENS, labels=TOKENS).loss.backward()
        return {name: weight.grad for name, weight in model.named_parameters() if weight.requires_grad}

    torch.manual_seed(2)
    expected = gradients(False)
    torch.manual_seed(2)
    for name, gradient in gradients(True).items():
        assert torch.equal(gradient, expected[name]), name


def tiny_tokenizer() -> PreTrainedTokenizerFast:
    from tokenizers import Tokenizer, models

    vocabulary = {f"t{i}": i for i in range(64)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="t0"))
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="t0", eos_token="t1", unk_token="t0")


def tiny_trainer(folder, base: PreTrainedModel):
    from trl import SFTConfig, SFTTrainer

    tokens = list(range(2, 10))
    args = SFTConfig(
        str(folder),
        max_steps=8,
        save_steps=4,
        logging_steps=1,
        per_device_train_batch_size=4,
        learning_rate=3e-2,
        bf16=False,
        use_cpu=True,
        report_to="none",
        disable_tqdm=True,
    )
    assert args.gradient_checkpointing, "TRL's default, and part of what is tested"
    return SFTTrainer(
        base,
        args,
        train_dataset=Dataset.from_list([{"input_ids": tokens, "labels": tokens}] * 4),
        processing_class=tiny_tokenizer(),
        peft_config=ExpertsConfig(r=4, dropout=0.1, task_type="CAUSAL_LM"),
    )


def test_sft_trainer_lowers_the_loss_changes_only_the_adapter_and_resumes_exactly(tmp_path):
    trainer = tiny_trainer(tmp_path, tiny_base())
    trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert losses[-1] < 0.9 * losses[0]

    frozen = {n: w for n, w in trainer.model.named_parameters() if ".experts_" not in n}
    before = tiny_base().state_dict()
    assert len(frozen) == len(before)
    for name, weight in frozen.items():
        original = before[name.removeprefix("base_model.model.").replace(".base_layer.", ".")]
        assert torch.equal(weight, original), name

    trained = get_peft_model_state_dict(trainer.model)
    start = load_file(tmp_path / "checkpoint-4" / "adapter_model.safetensors")
    assert start.keys() == trained.keys()
    assert not any(torch.equal(start[name], trained[name]) for name in trained), "every kind of weight is trained"
    resumed = tiny_trainer(tmp_path, tiny_base())
    resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-4"))
    for name, weight in get_peft_model_state_dict(resumed.model).items():
        assert torch.equal(weight, trained[name]), name
