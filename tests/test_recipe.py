"""Recipes: what is refused, and how it is said."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from pediatricsgpt.errors import UserError
from pediatricsgpt.recipe import (
    Comparison,
    Recipe,
    as_yaml,
    check_paths,
    check_phases,
    documentation,
    load_any,
    load_recipe,
)

REPOSITORY = Path(__file__).parents[1]
GOOD = """\
name: x
corpus:
  sources:
    - name: a
      kind: guideline
      path: g
      licence: CC0
      consent: none needed
      purpose: tests
model:
  base: owner/name
"""


def _load(tmp_path: Path, text: str, *changes: str) -> Recipe:
    path = tmp_path / "recipe.yaml"
    path.write_text(text, encoding="utf-8")
    return load_recipe(path, changes)


def _error(tmp_path: Path, text: str, *changes: str) -> str:
    with pytest.raises(UserError) as caught:
        _load(tmp_path, text, *changes)
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize("path", sorted((REPOSITORY / "recipes").glob("*.yaml")), ids=lambda path: path.name)
def test_every_shipped_recipe_is_good_and_survives_a_round_trip(path: Path, tmp_path: Path) -> None:
    recipe = load_any(path)
    again = tmp_path / "recipe.yaml"
    again.write_text(as_yaml(recipe), encoding="utf-8")
    assert load_any(again) == recipe


def test_a_misspelt_key_is_answered_with_the_nearest_and_its_line(tmp_path: Path) -> None:
    message = _error(tmp_path, GOOD + "sft:\n  max_lenght: 3\n")
    assert message.endswith("recipe.yaml:13: unknown setting 'sft.max_lenght'; did you mean 'max_length'?")


def test_a_misspelt_key_comes_before_the_field_that_it_leaves_missing(tmp_path: Path) -> None:
    message = _error(tmp_path, GOOD.replace("licence:", "license:"))
    assert "recipe.yaml:7: unknown setting 'corpus.sources.0.license'; did you mean 'licence'?" in message
    assert "and 1 more problem" in message


def test_a_corpus_without_licence_is_refused(tmp_path: Path) -> None:
    message = _error(tmp_path, GOOD.replace("      licence: CC0\n", ""))
    assert "'corpus.sources.0.licence' is required" in message


def test_a_wrong_type_names_field_line_and_value(tmp_path: Path) -> None:
    message = _error(tmp_path, GOOD + "dfpo:\n  beta: strong\n")
    assert "recipe.yaml:13: dfpo.beta:" in message
    assert "'strong'" in message


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("  init: {}\n", "exactly one of 'base'"),
        ("sft: {trainer: {bf16: true, fp16: true}}\n", "both true"),
        ("sft: {trainer: {max_steps: 3, num_train_epochs: 1}}\n", "both set"),
        ("sft: {trainer: {learning_rat: 0.1}}\n", "did you mean 'learning_rate'?"),
        ("sft: {trainer: {learning_rate: 1e-4}}\n", "write 1.0e-4"),
        ("sft: {trainer: {output_dir: x}}\n", "the run's folder decides it"),
        ("sft: {trainer: {max_steps: true}}\n", "must be int"),
        ("experts: {dropout: 1.5}\n", "experts.dropout"),
    ],
)
def test_contradictory_and_wrong_settings_are_refused_with_a_way_out(tmp_path: Path, text: str, said: str) -> None:
    assert said in _error(tmp_path, GOOD + text)


def test_heads_that_do_not_divide_name_both_fields(tmp_path: Path) -> None:
    text = GOOD.replace("base: owner/name", "init: {num_attention_heads: 6, num_key_value_heads: 4}\n  tokenizer: t")
    message = _error(tmp_path, text)
    assert "num_attention_heads (6)" in message
    assert "num_key_value_heads (4)" in message


def test_broken_yaml_names_the_line(tmp_path: Path) -> None:
    assert "recipe.yaml:2: not YAML" in _error(tmp_path, "name: x\n  bad: [\n")


def test_an_empty_recipe_and_a_list_are_refused(tmp_path: Path) -> None:
    assert "a recipe is a mapping" in _error(tmp_path, "")
    assert "a recipe is a mapping" in _error(tmp_path, "- a\n")


def test_a_recipe_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_bytes("name: 儿科".encode("gb18030"))
    with pytest.raises(UserError, match="UTF-8"):
        load_recipe(path)


def test_a_missing_recipe_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such recipe"):
        load_recipe(tmp_path / "none.yaml")


def test_set_changes_one_setting_and_takes_yaml_values(tmp_path: Path) -> None:
    recipe = _load(tmp_path, GOOD, "dfpo.mu=0.5", "experts.target_modules=[q_proj, v_proj]", "cpt.trainer.max_steps=7")
    assert recipe.dfpo.mu == 0.5
    assert recipe.experts.target_modules == ["q_proj", "v_proj"]
    assert recipe.cpt.trainer == {"max_steps": 7}


def test_set_refuses_what_is_no_setting(tmp_path: Path) -> None:
    assert "--set takes key=value" in _error(tmp_path, GOOD, "dfpo.mu")
    assert "did you mean 'mu'" in _error(tmp_path, GOOD, "dfpo.my=1")
    assert "'name' is no block" in _error(tmp_path, GOOD, "name.x=1")


def test_set_reaches_the_entries_of_a_list(tmp_path: Path) -> None:
    assert _load(tmp_path, GOOD, "corpus.sources.0.path=other").corpus.sources[0].path == Path("other")
    assert "there is no entry 3; the list has 1" in _error(tmp_path, GOOD, "corpus.sources.3.path=x")
    assert "name an entry by its number" in _error(tmp_path, GOOD, "corpus.sources.a.path=x")


def test_an_error_of_set_names_set_and_one_of_the_file_its_line(tmp_path: Path) -> None:
    assert _error(tmp_path, GOOD + "dfpo:\n  beta: 0.1\n", "dfpo.beta=x").startswith("--set dfpo.beta: ")
    assert _error(tmp_path, GOOD, "seed=1", "model.init={}").startswith("--set model.init: ")
    assert "recipe.yaml:13: dfpo.beta" in _error(tmp_path, GOOD + "dfpo:\n  beta: x\n", "dfpo.mu=1")


def test_a_block_that_is_null_is_said_in_plain_words(tmp_path: Path) -> None:
    said = "cpt must be a block of settings, not null; leave it out to take the defaults"
    assert said in _error(tmp_path, GOOD + "cpt: null\n")
    assert "model must be a block of settings, not 3" in _error(tmp_path, GOOD.split("model:")[0] + "model: 3\n")
    assert "leave it out" not in _error(tmp_path, GOOD.split("model:")[0] + "model: 3\n")


def test_a_field_of_several_types_has_its_own_name_in_errors(tmp_path: Path) -> None:
    message = _error(tmp_path, GOOD + "experts: {target_modules: 3}\n")
    assert "experts.target_modules:" in message
    assert "more problem" not in message


def test_a_key_that_stands_twice_names_both_lines(tmp_path: Path) -> None:
    message = _error(tmp_path, GOOD + "sft:\n  max_length: 64\n  max_length: 128\n")
    assert "recipe.yaml:14: 'max_length' stands twice, on line 13 and on line 14" in message


def test_a_folder_instead_of_a_recipe_is_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="this is a folder"):
        load_recipe(tmp_path)


def test_an_adapter_that_phase_4_cannot_go_on_from_is_refused_before_anything_is_trained(tmp_path: Path) -> None:
    text = GOOD + "dfpo: {reference: adapter, adapter: {kind: KIND}}\n"
    recipe = _load(tmp_path, text.replace("KIND", "experts"))
    with pytest.raises(UserError, match=r"^dfpo\.adapter\.kind: .*kind: lora, or stop before phase 4"):
        check_paths(recipe, tmp_path)
    with pytest.raises(UserError, match=r"^dfpo\.adapter\.kind: "):
        check_phases(recipe, ["sft", "dfpo", "experts"])
    check_phases(recipe, ["sft", "dfpo"])
    check_phases(_load(tmp_path, text.replace("KIND", "lora")), ["sft", "dfpo", "experts"])


def test_every_setting_is_documented() -> None:
    lines = list(documentation())
    settings = [line.strip() for line in lines if not line.strip().startswith("#")]
    comments = [line.strip() for line in lines if line.strip().startswith("#")]
    assert len(comments) == len(settings) > 60
    assert all(len(comment) > 8 for comment in comments)
    yaml.safe_load("\n".join(lines))


def test_checking_a_recipe_needs_no_torch() -> None:
    program = (
        "import sys; sys.argv = ['pedgpt', 'recipe', 'check', sys.argv[1]]\n"
        "from pediatricsgpt.cli import app\n"
        "try:\n    app()\nexcept SystemExit as end:\n    code = end.code\n"
        "heavy = {'torch', 'transformers', 'trl', 'peft', 'datasets'} & set(sys.modules)\n"
        "print(code, sorted(heavy))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(REPOSITORY / "recipes/demo.yaml")], capture_output=True, text=True
    )
    assert done.stdout.strip().endswith("0 []"), done.stdout + done.stderr


COMPARED = """\
name: x
evaluation:
  benchmarks: [{name: cmd, path: cmd.json}]
  models:
    - {name: a, answers: {cmd: a.jsonl}}
    - {name: b, api: {base_url: "http://127.0.0.1:1/v1", model: m}}
"""


def _compared(tmp_path: Path, text: str) -> Comparison:
    path = tmp_path / "recipe.yaml"
    path.write_text(text, encoding="utf-8")
    found = load_any(path)
    assert isinstance(found, Comparison)
    return found


def test_a_recipe_without_corpus_and_model_compares_models_that_are_there(tmp_path: Path) -> None:
    found = _compared(tmp_path, COMPARED)
    assert [one.name for one in found.evaluation.models] == ["a", "b"]
    with pytest.raises(UserError, match="it has no corpus and no model to train"):
        load_recipe(tmp_path / "recipe.yaml")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("answers: {cmd: a.jsonl}", "answers: {cmd: a.jsonl}, model: m"), "exactly one of model, api and answers"),
        (("answers: {cmd: a.jsonl}", "answers: {cdm: a.jsonl}"), "answers of a to cdm, which is not among"),
        (("{name: b,", "{name: a,"), "two models are named a"),
        (("[{name: cmd,", "[medkqa, {name: cmd,"), "those of the run's own held-out set"),
        (("127.0.0.1:1", "example.org"), "is not this machine: say allow_external: true"),
        (("{name: cmd, path", "{name: cdm, path"), "recipe.yaml:3: evaluation.benchmarks.0.name"),
        (
            ("{name: cmd, path", "{name: cmd, paht"),
            "unknown setting 'evaluation.benchmarks.0.paht'; did you mean 'path'",
        ),
        (("models:", "modles:"), "unknown setting 'evaluation.modles'; did you mean"),
    ],
)
def test_what_is_wrong_with_a_comparison_is_said_in_one_line(
    tmp_path: Path, change: tuple[str, str], message: str
) -> None:
    with pytest.raises(UserError) as caught:
        _compared(tmp_path, COMPARED.replace(*change))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_comparison_names_the_file_that_is_not_there(tmp_path: Path) -> None:
    found = _compared(tmp_path, COMPARED)
    (tmp_path / "cmd.json").write_text("[]", encoding="utf-8")
    with pytest.raises(UserError, match=r"a\.jsonl: no such file or folder \(answers of a to cmd\)"):
        check_paths(found, tmp_path)


def test_another_model_may_not_take_the_name_of_one_of_the_run(tmp_path: Path) -> None:
    recipe = _load(tmp_path, GOOD + "evaluation: {models: [{name: sft, model: owner/name}]}\n")
    with pytest.raises(UserError, match="a model of this run is called sft already"):
        check_paths(recipe, tmp_path)
