"""The preview shows what is trained: cut, left out, split, and what the label says where it is not the token."""

from __future__ import annotations

from pathlib import Path

from pediatricsgpt.models.encode import encode_text
from pediatricsgpt.models.load import Loaded
from pediatricsgpt.records import write_json_lines
from pediatricsgpt.training.preview import Sample, render, samples
from pediatricsgpt.training.settings import CptSettings, SetSettings, SftSettings
from tests.rows import instruction, preference, text, write

LONG = instruction("发烧", "几天了？", "三天", "多喝水。", "还要去医院吗", "喝水" * 100)


def _learnt(sample: Sample) -> str:
    return "".join(token for token, loss in sample.tokens if loss)


def test_a_dialogue_that_is_cut_is_shown_cut(loaded: Loaded, tmp_path: Path) -> None:
    path = write(tmp_path, "instruction", [LONG])
    (shown,) = samples("sft", path, loaded.tokenizer, 2, SftSettings(max_length=64, too_long="cut"))
    assert "cut to the first 4 of 6 turns" in shown.heading
    assert _learnt(shown) == "几天了？<|im_end|>多喝水。<|im_end|>"


def test_a_dialogue_that_is_left_out_is_shown_without_loss(loaded: Loaded, tmp_path: Path) -> None:
    path = write(tmp_path, "instruction", [LONG])
    for policy, said in (("drop", "left out"), ("error", "an error")):
        (shown,) = samples("experts", path, loaded.tokenizer, 2, SftSettings(max_length=64, too_long=policy))
        assert said in shown.heading
        assert _learnt(shown) == ""
        assert "喝水" * 100 in "".join(token for token, _ in shown.tokens)


def test_a_text_says_into_how_many_pieces_it_is_split(loaded: Loaded, tmp_path: Path) -> None:
    path = write(tmp_path, "cpt", [text("小儿肺炎" * 30)])
    (shown,) = samples("cpt", path, loaded.tokenizer, 2, CptSettings(max_length=16))
    tokens = len(encode_text(loaded.tokenizer, "小儿肺炎" * 30).input_ids)
    assert f"split into {-(-tokens // 16)} pieces" in shown.heading
    assert all(loss for _, loss in shown.tokens)


def test_sets_of_ones_own_are_shown_and_without_settings_nothing_is_too_long(loaded: Loaded, tmp_path: Path) -> None:
    path = write(tmp_path, "instruction", [LONG, LONG, LONG])
    write_json_lines(tmp_path / "own.jsonl", [{"messages": LONG["messages"]}])
    own = SftSettings(max_length=64, data=[SetSettings(path=tmp_path / "own.jsonl")])
    shown = samples("sft", path, loaded.tokenizer, 2, own)
    assert len(shown) == 3
    assert shown[-1].id.endswith("own.jsonl:1")
    assert _learnt(samples("sft", path, loaded.tokenizer, 1)[0]).endswith("喝水<|im_end|>")


def test_both_sides_of_a_pair_are_shown(loaded: Loaded, tmp_path: Path) -> None:
    path = write(tmp_path, "preference", [preference("发烧", "先量体温。", "不知道")])
    chosen, rejected = samples("dfpo", path, loaded.tokenizer, 1)
    assert (_learnt(chosen), _learnt(rejected)) == ("先量体温。<|im_end|>", "不知道<|im_end|>")


def test_a_label_that_is_not_its_token_is_shown_beside_it(loaded: Loaded, tmp_path: Path) -> None:
    template = loaded.tokenizer.chat_template
    loaded.tokenizer.chat_template = (
        "{% for m in messages %}{{ '<|im_start|>' + m.content }}{% if loop.last %}{{ '<|im_end|>' }}{% endif %}"
        "{% endfor %}"
    )
    try:
        path = write(tmp_path, "instruction", [instruction("发烧", "几天了？", "三天", "请就诊。")])
        (shown,) = samples("sft", path, loaded.tokenizer, 1)
    finally:
        loaded.tokenizer.chat_template = template
    assert _learnt(shown) == "几天了？<|im_end|>←<|im_start|>请就诊。<|im_end|>"
    assert "[<|im_end|>←<|im_start|>]" in render(shown, brackets=True).plain
