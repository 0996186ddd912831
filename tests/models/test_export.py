"""Handing a model on: what others open is the model that was trained, and its card says what its files say."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import yaml
from huggingface_hub import ModelCard
from peft import LoraConfig, PromptTuningConfig, get_peft_model
from safetensors.torch import load_file, save_file

from pediatricsgpt import manifest
from pediatricsgpt.errors import UserError
from pediatricsgpt.experts import ExpertsConfig
from pediatricsgpt.manifest import Manifest
from pediatricsgpt.models import baichuan
from pediatricsgpt.models.baichuan.modelling import BaichuanForCausalLM
from pediatricsgpt.models.export import ExportSettings, export, folder, write
from pediatricsgpt.models.export.licence import licence_of
from pediatricsgpt.models.load import load
from tests.models.test_baichuan_tokenization import folder as baichuan_folder  # noqa: F401 (a fixture)

IDS = torch.arange(5, 45).reshape(2, 20)
# Our package is hidden: what runs here is plain transformers.
PLAIN = """
import sys, torch

class Without:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "pediatricsgpt":
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Without())
from transformers import AutoModelForCausalLM, AutoTokenizer

torch.set_num_threads(int(sys.argv[3]))
model = AutoModelForCausalLM.from_pretrained(sys.argv[1], dtype="auto").eval()
tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
assert "pediatricsgpt" not in sys.modules
with torch.no_grad():
    logits = model(torch.arange(5, 45).reshape(2, 20)).logits
text = tokenizer.apply_chat_template([{"role": "user", "content": "你好"}], tokenize=False, add_generation_prompt=True)
torch.save({"logits": logits, "text": text, "eos": model.generation_config.eos_token_id}, sys.argv[2])
"""


def in_a_fresh_process(model: Path, place: Path, program: str = PLAIN, cwd: Path | None = None) -> dict[str, Any]:
    """What a process that never saw our package gets from a folder."""
    out = place / "seen.pt"
    arguments = [sys.executable, "-c", program, str(model), str(out), str(torch.get_num_threads())]
    done = subprocess.run(arguments, capture_output=True, text=True, cwd=cwd)
    assert done.returncode == 0, done.stderr
    seen: dict[str, Any] = torch.load(out)
    return seen


def logits_of(model: Any) -> torch.Tensor:
    with torch.no_grad():
        logits: torch.Tensor = model.eval()(IDS).logits
    return logits


def stir(model: Any, part: str = "") -> Any:
    """Weights of an adapter far from their zero beginning."""
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if part in name:
                weight.add_(0.1 * torch.randn(weight.shape, generator=generator))
    return model


def finish(run: Path, node: str, content: str, inputs: dict[str, str], **fields: Any) -> None:
    partial = manifest.begin(run / node, manifest.Begun("f"))
    for path in (run / node).glob("*") if (run / node).is_dir() else ():
        shutil.copy(path, partial / path.name)
    made = Manifest(node, "f", content, inputs, fields.get("settings", {}), "c0de", 17, fields.get("counts", {}))
    manifest.finish(run / node, made)


GROUNDS = {"name": "guide|lines", "licence": "CC0", "consent": "no personal data", "purpose": "training"}
MEASURED = {"mean": 12.346, "low": 10.1, "high": 14.2, "n": 54}


@pytest.fixture
def run(made_run: Path, tmp_path: Path) -> Path:
    """A run to play with."""
    return Path(shutil.copytree(made_run, tmp_path / "runs/tiny"))


@pytest.fixture(scope="module")
def made_run(model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two phases and the experts, as `pedgpt run` leaves it."""
    place = tmp_path_factory.mktemp("made") / "runs/tiny"
    (place / "corpus").mkdir(parents=True)
    (place / "recipe.yaml").write_text("name: tiny\n")
    shutil.copytree(model_folder, place / "base")
    finish(place, "base", "b0", {"/secret/place/tokenizer": "t"}, settings={"init": {"hidden_size": 32}})
    for name, rows in (("sft", 3), ("preferences", 2), ("experts", 1)):
        where = place / "corpus" / name
        where.mkdir()
        sources = [{**GROUNDS, "kind": "guideline"}] * (rows - 1) + [{**GROUNDS, "name": "b", "kind": "dataset"}]
        pq.write_table(pa.table({"id": [str(n) for n in range(rows)], "source": sources}), where / "rows.parquet")
        finish(place, f"corpus/{name}", f"{name}-rows", {}, counts={"rows": rows})
    (place / "corpus/card").mkdir()
    (place / "corpus/card/README.md").write_text("# the corpus\n")
    finish(place, "corpus/card", "card", {"corpus/sft": "sft-rows"}, counts={"sets": 3})
    before = "base"
    for name in ("sft", "dfpo"):
        loaded = load(place / before)
        stir(loaded.model, "mlp").save_pretrained(place / name)
        loaded.tokenizer.save_pretrained(place / name)
        own = {"dfpo": "preferences"}.get(name, name)
        inputs = {before: f"{before[0]}0", f"corpus/{own}": f"{own}-rows", "corpus/sft": "sft-rows"}
        settings = {"max_length": 64, "trainer": {"logging_dir": "/secret/place/logs"}}
        finish(place, name, f"{name[0]}0", inputs, settings=settings, counts={"rows": 9, "tokens": 12345, "steps": 4})
        before = name
    experts = get_peft_model(load(place / "dfpo").model, ExpertsConfig(r=2, task_type="CAUSAL_LM"))
    experts.peft_config["default"].base_model_name_or_path = "runs/tiny/dfpo"
    stir(experts, "experts_").save_pretrained(place / "experts")
    finish(place, "experts", "e0", {"dfpo": "d0", "corpus/experts": "experts-rows"}, settings={"x": "/secret/x"})
    measured = place / "evaluation/dfpo"
    measured.mkdir(parents=True)
    loss = {"mean": 6.5, "low": 6.25, "high": 6.75, "rows": 12, "tokens": 345, "left_out_too_long": 0}
    (measured / "held_out_loss.json").write_text(json.dumps(loss))
    scores = {"signature": "metrics:1", "n": 54, "metrics": {"rouge-l": MEASURED}, "warnings": []}
    scores["groups"] = {"task": {"medkqa": {"n": 7, "metrics": {"bleu-4": {**MEASURED, "n": 7}}}}}
    (measured / "scores.json").write_text(json.dumps(scores))
    finish(place, "evaluation/dfpo", "x", {"dfpo": "d0", "corpus/held_out": "h"})
    return place


def adapter(base: Path, config: Any, place: Path) -> Any:
    """An adapter folder on a base, and the model that it is."""
    model = get_peft_model(load(base).model, config)
    stir(model, "lora_").save_pretrained(place)
    return model


LORA = {"r": 4, "target_modules": ["q_proj", "up_proj"], "task_type": "CAUSAL_LM"}


def test_a_phase_opens_in_plain_transformers_with_the_same_logits_to_the_bit(run: Path, tmp_path: Path) -> None:
    export(str(run / "dfpo"), tmp_path / "out")
    loaded = load(run / "dfpo")
    seen = in_a_fresh_process(tmp_path / "out", tmp_path)
    assert torch.equal(seen["logits"], logits_of(loaded.model))
    asked = [{"role": "user", "content": "你好"}]
    assert seen["text"] == loaded.tokenizer.apply_chat_template(asked, tokenize=False, add_generation_prompt=True)
    assert load(tmp_path / "out").tokenizer.get_vocab() == loaded.tokenizer.get_vocab()


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32"])
def test_the_type_asked_for_is_that_of_every_weight_rounded_once(run: Path, tmp_path: Path, dtype: str) -> None:
    done = export(str(run / "sft"), tmp_path / "out", ExportSettings(dtype=dtype))
    written, trained = (load_file(place / "model.safetensors") for place in (tmp_path / "out", run / "sft"))
    assert done.dtype == json.loads((tmp_path / "out/config.json").read_text())["dtype"] == dtype
    assert all(torch.equal(written[name], weight.to(getattr(torch, dtype))) for name, weight in trained.items())


def test_a_merged_adapter_answers_like_the_adapter_without_peft(model_folder: Path, tmp_path: Path) -> None:
    expected = logits_of(adapter(model_folder, LoraConfig(**LORA), tmp_path / "lora"))
    export(str(tmp_path / "lora"), tmp_path / "out")
    seen = logits_of(load(tmp_path / "out").model)
    assert not list((tmp_path / "out").glob("adapter*"))
    assert (seen - logits_of(load(model_folder).model)).abs().max() > 0.01
    assert torch.allclose(seen, expected, atol=1e-5, rtol=1e-5)
    card = (tmp_path / "out/README.md").read_text()
    assert "| merged | its LORA adapter, in float32, rounded once |" in card


def test_a_merge_into_half_precision_rounds_once(model_folder: Path, tmp_path: Path) -> None:
    half = tmp_path / "half"
    export(str(model_folder), half, ExportSettings(dtype="bfloat16"))
    adapter(half, LoraConfig(**LORA), tmp_path / "lora")
    export(str(tmp_path / "lora"), tmp_path / "wide", ExportSettings(dtype="float32"))
    assert export(str(tmp_path / "lora"), tmp_path / "kept").dtype == "bfloat16"  # as the base is stored
    wide, kept = (load_file(tmp_path / name / "model.safetensors") for name in ("wide", "kept"))
    assert all(torch.equal(weight.to(torch.bfloat16), kept[name]) for name, weight in wide.items())


def test_large_models_are_written_in_shards(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(write, "MAX_SHARD", "300KB")
    export(str(run / "sft"), tmp_path / "out")
    assert len(list((tmp_path / "out").glob("model-*.safetensors"))) > 1
    assert torch.equal(logits_of(load(tmp_path / "out").model), logits_of(load(run / "sft").model))


def test_plain_generate_stops_where_the_template_ends_a_turn(model_folder: Path, tmp_path: Path) -> None:
    model = shutil.copytree(model_folder, tmp_path / "model")
    tokenizer = load(model).tokenizer
    turn, end = tokenizer.convert_tokens_to_ids(["<|im_end|>", "<|endoftext|>"])
    tokenizer.eos_token = "<|endoftext|>"  # as most base models have it
    tokenizer.save_pretrained(model)
    (model / "generation_config.json").write_text(json.dumps({"eos_token_id": end}))
    export(str(model), tmp_path / "out")
    written = json.loads((tmp_path / "out/generation_config.json").read_text())
    assert sorted(written["eos_token_id"]) == sorted([turn, end])


def test_experts_are_not_merged_but_stand_beside_their_base(run: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cannot be merged into one model.*--to adapter"):
        export(str(run / "experts"), tmp_path / "out")
    export(str(run / "experts"), tmp_path / "out", ExportSettings(form="adapter"))
    written, trained = tmp_path / "out/adapter/adapter_model.safetensors", run / "experts/adapter_model.safetensors"
    assert written.read_bytes() == trained.read_bytes()
    assert json.loads((written.parent / "adapter_config.json").read_text())["base_model_name_or_path"] == "../base"
    shutil.rmtree(run / "dfpo")  # nothing of the run is needed any more, nor the place
    (tmp_path / "out").rename(tmp_path / "moved")
    expected = tmp_path / "moved/adapter"
    assert type(load(expected).model.get_base_model()).__name__ == "Qwen3ForCausalLM"


def test_the_card_of_an_adapter_says_how_it_is_loaded(run: Path, tmp_path: Path) -> None:
    export(str(run / "experts"), tmp_path / "out", ExportSettings(form="adapter"))
    shown = re.findall(r"```python\n(.*?)```", (tmp_path / "out/README.md").read_text(), re.DOTALL)
    program = f"import sys, torch\ntorch.set_num_threads(int(sys.argv[3]))\n{shown[0]}\n"
    program += "with torch.no_grad(): logits = model(torch.arange(5, 45).reshape(2, 20)).logits\n"
    program += "torch.save({'logits': logits}, sys.argv[2])\n"
    program += shown[1].replace("max_new_tokens=256", "max_new_tokens=4")
    seen = in_a_fresh_process(tmp_path, tmp_path, program, cwd=tmp_path / "out")
    assert torch.equal(seen["logits"], logits_of(load(run / "experts").model))


def test_the_universal_expert_goes_into_the_base_and_the_answers_stay(run: Path, tmp_path: Path) -> None:
    export(str(run / "experts"), tmp_path / "out", ExportSettings(form="adapter", merge_universal=True))
    expected = logits_of(load(run / "experts").model)
    assert torch.allclose(logits_of(load(tmp_path / "out/adapter").model), expected, atol=1e-5, rtol=1e-4)
    up = load_file(tmp_path / "out/adapter/adapter_model.safetensors")
    assert all(bool((weight[:, :2] == 0).all()) for name, weight in up.items() if "experts_B" in name)
    assert any(bool((weight[:, 2:] != 0).any()) for name, weight in up.items() if "experts_B" in name)
    merged, base = (load_file(place / "model.safetensors") for place in (tmp_path / "out/base", run / "dfpo"))
    changed = {name for name in base if not torch.equal(base[name], merged[name])}
    assert changed == {name for name in base if "mlp" in name and "proj" in name}


def test_baichuan_keeps_its_names_and_a_folded_head_needs_no_norm(
    baichuan_folder: Path,  # noqa: F811
    tmp_path: Path,
) -> None:
    model = BaichuanForCausalLM(baichuan.BaichuanConfig.from_pretrained(baichuan_folder)).float()
    model.load_state_dict(torch.load(baichuan_folder / "pytorch_model.bin"))
    assert "--fold-head" in export(str(baichuan_folder), tmp_path / "plain").notes[0]
    export(str(baichuan_folder), tmp_path / "folded", ExportSettings(fold_head=True))
    plain, folded = (load_file(tmp_path / name / "model.safetensors") for name in ("plain", "folded"))
    published = torch.load(baichuan_folder / "pytorch_model.bin")
    assert plain.keys() == folded.keys() == published.keys()
    assert all(torch.equal(plain[name], published[name]) for name in published)
    hidden = torch.randn(3, 32, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        assert torch.allclose(hidden @ folded["lm_head.weight"].T, model.lm_head(hidden), atol=1e-5)
        assert not torch.allclose(hidden @ plain["lm_head.weight"].T, model.lm_head(hidden), atol=1e-2)
    assert torch.allclose(logits_of(load(tmp_path / "folded").model), logits_of(model), atol=1e-5)
    for name in ("plain", "folded"):  # what llama.cpp's converter reads of a Baichuan
        assert json.loads((tmp_path / name / "config.json").read_text())["architectures"] == ["BaichuanForCausalLM"]
        original, copied = (place / "tokenizer.model" for place in (baichuan_folder, tmp_path / name))
        assert copied.read_bytes() == original.read_bytes()


def test_a_head_without_a_norm_is_not_folded(run: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no norm to fold"):
        export(str(run / "sft"), tmp_path / "out", ExportSettings(fold_head=True))
    assert not list(tmp_path.glob("out*"))


def test_the_card_has_a_head_that_the_hub_reads(run: Path, tmp_path: Path) -> None:
    export(str(run / "dfpo"), tmp_path / "out")
    card = ModelCard.load(tmp_path / "out/README.md")
    assert card.data.license == "unknown"
    assert card.data.language == ["zh"]
    assert card.data.library_name == "transformers"
    assert card.data.pipeline_tag == "text-generation"
    assert card.data.datasets is None  # the corpus is on no hub, and "tiny" there is somebody else's
    assert card.data.base_model is None
    (result,) = card.data.eval_results
    assert (result.metric_type, result.metric_value) == ("rouge", 12.35)
    assert "n 54, 95 % interval 10.10 to 14.20" in result.metric_name


def test_the_card_tells_grounds_figures_and_limits_from_the_files(run: Path, tmp_path: Path) -> None:
    export(str(run / "dfpo"), tmp_path / "out")
    text = (tmp_path / "out/README.md").read_text()
    assert r"| sft | guide\|lines | 2 | CC0 | no personal data | training |" in text
    assert "| dfpo | b | 1 | CC0 | no personal data | training |" in text
    assert "experts" not in text.split("## Training")[1].split("## Evaluation")[0]
    assert "| held-out loss (nats per answer token) | all | 12 rows, 345 tokens | 6.500 | [6.250, 6.750] |" in text
    assert "| ROUGE-L | all | 54 | 12.35 | [10.10, 14.20] |" in text
    assert "| BLEU-4 | medkqa 知识问答 | 7 |" in text
    assert "unknown: check before you publish" in text
    assert "本模型不是医疗器械" in text
    assert "Not a medical device" in text
    for link in re.findall(r"\]\((?!http)([^)]+)\)", text):
        assert (tmp_path / "out" / link).is_file(), link


def test_nothing_that_is_written_names_a_place_on_this_machine(run: Path, tmp_path: Path) -> None:
    export(str(run / "dfpo"), tmp_path / "dense")
    for merge in (False, True):
        export(str(run / "experts"), tmp_path / f"x{merge}", ExportSettings(form="adapter", merge_universal=merge))
    for out in ("dense", "xFalse", "xTrue"):
        for file in (tmp_path / out).rglob("*"):
            if file.suffix in (".json", ".md", ".jinja"):
                text = file.read_text()
                assert str(tmp_path) not in text, file
                assert "/secret" not in text, file


def test_the_lineage_holds_every_phase_back_to_the_base(run: Path, tmp_path: Path) -> None:
    export(str(run / "experts"), tmp_path / "out", ExportSettings(form="adapter"))
    found = json.loads((tmp_path / "out/lineage.json").read_text())
    assert [phase["phase"] for phase in found["phases"]] == ["sft", "dfpo", "experts"]
    assert found["phases"][0]["settings"]["trainer"] == {"logging_dir": "logs"}
    assert found["phases"][0]["data"][0]["sources"][0]["rows"] == 2
    assert found["phases"][1]["watched"] == ["corpus/sft"]  # measured on, for forgetting, and not trained on
    assert len(found["phases"][1]["data"]) == 1
    assert found["base"]["kind"] == "new"
    assert found["evaluation"] is None  # dfpo was measured, this model was not


def test_what_changed_since_is_said_and_not_described(run: Path, tmp_path: Path) -> None:
    finish(run, "sft", "another", {"base": "b0", "corpus/sft": "sft-rows"}, settings={"max_length": 99})
    finish(run, "corpus/preferences", "another", {})
    finish(run, "evaluation/dfpo", "x", {"dfpo": "another"})
    export(str(run / "dfpo"), tmp_path / "out")
    text = (tmp_path / "out/README.md").read_text()
    assert "99" not in text.split("## Training")[1].split("## Evaluation")[0]
    assert "监督微调 | changed since this model was trained |" in text
    assert "| dfpo | `corpus/preferences`: changed since this model was trained |" in text
    assert "is of another state of this model" in text
    assert "ROUGE" not in text


def test_a_card_of_another_corpus_is_not_passed_on(run: Path, tmp_path: Path) -> None:
    finish(run, "corpus/card", "card", {"corpus/sft": "another"})
    export(str(run / "dfpo"), tmp_path / "out")
    assert not (tmp_path / "out/corpus").exists()
    assert "its card" not in (tmp_path / "out/README.md").read_text()


def test_the_same_model_gives_the_same_bytes(run: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        export(str(run / "dfpo"), tmp_path / name)
    files = [path.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob("*") if path.is_file()]
    assert len(files) >= 9
    assert [
        name for name in files if (tmp_path / "one" / name).read_bytes() != (tmp_path / "two" / name).read_bytes()
    ] == []


@pytest.mark.parametrize(
    ("file", "content", "identifier", "told"),
    [
        ("README.md", "---\nlicense: apache-2.0\n---\n# base", "apache-2.0", "apache-2.0"),
        ("README.md", "---\nlicense: other\nlicense_name: qwen-research\n---\n", "other", "other (qwen-research)"),
        ("README.md", "# no front matter", "unknown", "unknown: check before you publish"),
        ("README.md", "---\nlicense: [\n---\n", "unknown", "unknown: check before you publish"),
        ("config.json", '{"license": "mit"}', "mit", "mit"),
        ("LICENSE", "\n   Some Community License\n\nTerms", "other", "other (Some Community License)"),
        ("notes.txt", "mit", "unknown", "unknown: check before you publish"),
    ],
)
def test_a_licence_is_what_a_file_states_and_never_guessed(
    tmp_path: Path, file: str, content: str, identifier: str, told: str
) -> None:
    (tmp_path / file).write_text(content)
    found = licence_of(tmp_path)
    assert (found.identifier, found.text) == (identifier, told)


def test_licence_and_its_file_of_a_local_base_go_with_the_model(model_folder: Path, tmp_path: Path) -> None:
    base = shutil.copytree(model_folder, tmp_path / "Some-Base-7B")
    (base / "README.md").write_text("---\nlicense: apache-2.0\n---\n")
    (base / "LICENSE").write_text("Apache License")
    place = tmp_path / "runs/r"
    place.mkdir(parents=True)
    (place / "recipe.yaml").write_text("name: r\n")
    (place / "base").mkdir()
    reference = {"base": str(base), "revision": None, "trust_remote_code": False, "chat_template": None}
    (place / "base/base.json").write_text(json.dumps(reference))
    finish(place, "base", "b0", {})
    shutil.copytree(model_folder, place / "sft")
    finish(place, "sft", "s0", {"base": "b0"})
    done = export(str(place / "sft"), tmp_path / "out")
    head = yaml.safe_load((tmp_path / "out/README.md").read_text().split("---")[1])
    assert done.licence == head["license"] == "apache-2.0"
    assert "base_model" not in head  # a folder's name is no hub id, and would be read as one
    assert "Some-Base-7B" in (tmp_path / "out/README.md").read_text()
    assert (tmp_path / "out/LICENSE").read_text() == "Apache License"
    again = export(str(tmp_path / "out"), tmp_path / "again")  # an export of an export still knows
    assert again.licence == "apache-2.0"
    assert json.loads((tmp_path / "again/lineage.json").read_text())["base"]["lineage"]["name"] == "r-sft"


def test_the_files_of_a_hub_model_come_from_the_cache_on_this_machine(
    baichuan_folder: Path,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cache = tmp_path / "cache/models--owner--name"
    snapshot = cache / "snapshots" / "c0ffee"
    shutil.copytree(baichuan_folder, snapshot)
    (snapshot / "README.md").write_text("---\nlicense: other\nlicense_name: baichuan-community\n---\n")
    (cache / "refs").mkdir()
    (cache / "refs/main").write_text("c0ffee")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("huggingface_hub.file_download.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    assert export("owner/name", tmp_path / "out").licence == "other (baichuan-community)"
    assert (tmp_path / "out/tokenizer.model").read_bytes() == (snapshot / "tokenizer.model").read_bytes()
    assert yaml.safe_load((tmp_path / "out/README.md").read_text().split("---")[1])["base_model"] == "owner/name"


def test_a_model_of_no_run_says_that_nothing_is_recorded(model_folder: Path, tmp_path: Path) -> None:
    export(str(model_folder), tmp_path / "out")
    text = (tmp_path / "out/README.md").read_text()
    assert text.count("Not recorded.") == 2
    assert "Not evaluated" in text


def _several(place: Path) -> None:
    for name in ("a", "b"):
        (place / name).mkdir(parents=True)
        (place / name / "adapter_config.json").write_text("{}")


def _adapter_on(place: Path, base: str | None) -> None:
    place.mkdir()
    (place / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "base_model_name_or_path": base}))
    (place / "adapter_model.safetensors").write_bytes(b"")


def test_what_is_no_whole_finished_model_is_refused(run: Path, tmp_path: Path) -> None:
    _several(tmp_path / "several")
    _adapter_on(tmp_path / "homeless", None)
    _adapter_on(tmp_path / "orphan", "/no/such/base")
    (tmp_path / "orphan/adapter_model.safetensors").rename(tmp_path / "orphan/adapter_model.bin")
    _adapter_on(tmp_path / "empty", str(run / "sft"))
    (tmp_path / "empty/adapter_model.safetensors").unlink()
    _adapter_on(tmp_path / "twice", str(run / "experts"))
    (run / "sft/manifest.json").unlink()
    (run / "cpt.partial").mkdir()
    for where, said in (
        ("several", r"adapters below \(a, b\); name one"),
        ("homeless", "does not say what its base is"),
        ("orphan", "base of this adapter is not there"),
        ("empty", "no weights in this adapter"),
        ("twice", "is an adapter too"),
        ("runs/tiny/sft", "not finished"),
        ("runs/tiny/cpt", "not finished"),
        ("runs/tiny/cpt.partial", "not finished"),
        ("runs/tiny", "a whole run; name one of its phases"),
        ("runs/tiny/corpus", r"no config\.json"),
        ("nowhere", "no such model folder"),
    ):
        with pytest.raises(UserError, match=said) as caught:
            export(str(tmp_path / where), tmp_path / "out")
        assert "\n" not in str(caught.value)
    assert not list(tmp_path.glob("out*"))


def test_an_adapter_that_cannot_be_merged_or_does_not_fit_is_refused(model_folder: Path, tmp_path: Path) -> None:
    prompt = PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=2)
    adapter(model_folder, prompt, tmp_path / "prompt")
    with pytest.raises(UserError, match="PROMPT_TUNING adapter cannot be merged"):
        export(str(tmp_path / "prompt"), tmp_path / "out")
    adapter(model_folder, LoraConfig(**LORA), tmp_path / "lora")
    weights = load_file(tmp_path / "lora/adapter_model.safetensors")
    wrong = {name: weight[:, :-1].contiguous() for name, weight in weights.items()}
    save_file(wrong, tmp_path / "lora/adapter_model.safetensors")
    with pytest.raises(UserError, match="does not fit its base"):
        export(str(tmp_path / "lora"), tmp_path / "out")
    assert not list(tmp_path.glob("out*"))


@pytest.mark.parametrize(
    ("where", "settings", "said"),
    [
        ("sft", {"form": "gguf"}, "no form 'gguf'; there are hf, adapter"),
        ("sft", {"dtype": "int8"}, "no type 'int8'"),
        ("sft", {"form": "adapter"}, "whole model without an adapter"),
        ("sft", {"merge_universal": True}, "--merge-universal is for the experts"),
    ],
)
def test_what_does_not_go_together_is_refused(
    run: Path, tmp_path: Path, where: str, settings: dict[str, Any], said: str
) -> None:
    with pytest.raises(UserError, match=said):
        export(str(run / where), tmp_path / "out", ExportSettings(**settings))


def test_only_an_earlier_export_is_overwritten(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    export(str(run / "sft"), out)  # an empty folder is as good as none
    with pytest.raises(UserError, match="there is something already"):
        export(str(run / "dfpo"), out)
    export(str(run / "dfpo"), out, ExportSettings(overwrite=True))
    assert torch.equal(logits_of(load(out).model), logits_of(load(run / "dfpo").model))
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "thesis.docx").touch()
    with pytest.raises(UserError, match="no earlier export"):
        export(str(run / "dfpo"), precious, ExportSettings(overwrite=True))
    with pytest.raises(UserError, match="the model itself lies in this folder"):
        export(str(run / "dfpo"), run, ExportSettings(overwrite=True))
    adapter(out, LoraConfig(**LORA), tmp_path / "precious/lora")
    with pytest.raises(UserError, match="the model itself lies in this folder"):
        export(str(tmp_path / "precious/lora"), out, ExportSettings(overwrite=True))
    with pytest.raises(UserError, match="this lies in the folder of the model"):
        export(str(run / "dfpo"), run / "dfpo/out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "precious", "runs"]


def test_a_failure_leaves_nothing_and_keeps_what_was_there(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    export(str(run / "sft"), out)
    monkeypatch.setattr(write, "model_card", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        export(str(run / "dfpo"), out, ExportSettings(overwrite=True))
    assert torch.equal(logits_of(load(out).model), logits_of(load(run / "sft").model))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "runs"]


def test_what_a_killed_export_left_is_cleared_and_what_is_somebodys_is_not(run: Path, tmp_path: Path) -> None:
    partial = tmp_path / "out.partial"
    partial.mkdir()
    (partial / "mine.txt").touch()
    with pytest.raises(UserError, match="holds something else"):
        export(str(run / "sft"), tmp_path / "out")
    (partial / folder._MARK).touch()
    export(str(run / "sft"), tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "runs"]
    assert not (tmp_path / "out/mine.txt").exists()


def test_a_disk_that_is_too_small_is_told_before_writing(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = SimpleNamespace(free=1_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(UserError, match=r"the disk has 0\.0 GB free and the export takes 0\.1 GB"):
        export(str(run / "sft"), tmp_path / "out")
    assert not list(tmp_path.glob("out*"))
