"""Preference pairs: general ones as they are, medical ones with the SFT model's own answers."""

from __future__ import annotations

from pediatricsgpt.corpus.build.behaviour import safety_pairs
from pediatricsgpt.corpus.build.preferences import (
    general_pairs,
    is_degenerate,
    medical_pairs,
    prompt_counts,
    prompts_for_low_answers,
    statistics,
)
from pediatricsgpt.corpus.settings import BehaviourSettings, PreferenceSettings
from pediatricsgpt.records import Step, write_rows

SETTINGS = PreferenceSettings(medical_pairs=3, max_prompt_characters=50, max_answer_characters=60)


def test_general_pairs_are_kept_or_rejected_with_a_reason(make, tmp_path) -> None:
    records = [
        make.preference("写一首诗", "好诗。", "坏诗。", split="train"),
        make.preference("写两首诗", "好诗。", "坏诗。", split="held_out"),
        make.preference("写" * 60, "好诗。", "坏诗。", split="train"),
        make.preference("写三首诗", "好诗。", "坏" * 61, split="train"),
        make.dialogue("孩子咳嗽", "多喝水。", split="train"),
    ]
    rows, rejects = general_pairs(records, SETTINGS)
    assert [reject.reason.split(":")[0] for reject in rejects] == ["held out", "prompt too long", "answer too long"]
    assert rows[0]["prompt"] == [{"role": "user", "content": "写一首诗"}]
    assert rows[0]["chosen"] == [{"role": "assistant", "content": "好诗。"}]
    assert rows[0]["aspect"] == "style"
    write_rows(tmp_path / "rows.parquet", rows, "preference")


def test_prompts_are_training_rows_of_the_pediatric_tasks_without_their_answer(make) -> None:
    rows = [make.row(task, n) for task in ("medkqa", "trerecom", "general", "self") for n in range(5)]
    rows += [make.row("medkqa", 99, split="held_out")]
    prompts = prompts_for_low_answers(rows, SETTINGS, seed=17)
    assert len(prompts) == 3
    by_id = {row["id"]: row for row in rows}
    for prompt in prompts:
        row = by_id[prompt["id"]]
        assert (row["task"] in ("medkqa", "trerecom"), row["split"]) == (True, "train")
        assert prompt["messages"] == row["messages"][:-1]
    assert prompts == prompts_for_low_answers(list(reversed(rows)), SETTINGS, seed=17)
    assert prompts_for_low_answers(rows, SETTINGS.model_copy(update={"medical_pairs": 0}), seed=17) == []


def test_long_prompts_and_answers_are_not_asked(make) -> None:
    row = make.row("medkqa", 1)
    row["messages"] = [{"role": "user", "content": "问" * 51}, {"role": "assistant", "content": "答。"}]
    other = make.row("medkqa", 2)
    other["messages"] = [{"role": "user", "content": "问"}, {"role": "assistant", "content": "答" * 61}]
    assert prompts_for_low_answers([row, other], SETTINGS, seed=17) == []


def test_the_models_answer_is_the_low_side_and_named(make, tmp_path) -> None:
    rows = [make.row("medkqa", n) for n in range(4)]
    answers = {rows[0]["id"]: "不知道。", rows[1]["id"]: "  ", rows[2]["id"]: "这是第2个回答"}
    pairs, rejects = medical_pairs(rows, answers)
    assert [reject.reason for reject in rejects] == ["empty answer", "answer equals the reference"]
    assert len(pairs) == 1
    assert pairs[0]["rejected"] == [{"role": "assistant", "content": "不知道。"}]
    assert pairs[0]["chosen"] == rows[0]["messages"][-1:]
    assert pairs[0]["prompt"] == rows[0]["messages"][:-1]
    assert pairs[0]["parents"] == [rows[0]["id"]]
    assert pairs[0]["steps"][-1] == {"name": "low_answer", "version": 1, "teacher": "sft", "prompt_hash": ""}
    write_rows(tmp_path / "rows.parquet", pairs, "preference")


def test_prompts_that_are_not_asked_are_counted(make) -> None:
    rows = [make.row("medkqa", n) for n in range(5)] + [make.row("general", 1), make.row("medkqa", 9, split="held_out")]
    rows[0]["messages"] = [{"role": "user", "content": "问" * 51}, {"role": "assistant", "content": "答。"}]
    assert prompt_counts(rows, SETTINGS) == {
        "prompts": 5,
        "prompts_too_long": 1,
        "prompts_not_drawn": 1,
        "prompts_asked": 3,
    }
    assert len(prompts_for_low_answers(rows, SETTINGS, seed=17)) == 3


def test_broken_characters_are_no_answer(make) -> None:
    row = make.row("medkqa", 1)
    pairs, rejects = medical_pairs([row], {row["id"]: "多喝水\ufffd。"})
    assert pairs == []
    assert rejects[0].reason.split(":")[0] == "broken characters"


def test_loops_are_counted_and_kept(make) -> None:
    assert is_degenerate("发热，" * 20)
    assert is_degenerate("的" * 30 + "孩子发烧怎么办")
    assert not is_degenerate("发热发热发热")
    assert not is_degenerate("建议监测体温，多喝水，必要时到医院检查血常规，注意观察孩子的精神状态。")
    rows = [make.row("medkqa", n) for n in range(2)]
    pairs, _ = medical_pairs(rows, {rows[0]["id"]: "咳嗽" * 20, rows[1]["id"]: "不知道。"})
    found = statistics(pairs, [])["sets"]["preferences"]
    assert (found["rows"], found["low_answers"], found["degenerate_low_answers"]) == (2, 2, 1)
    checked = [{**pair, "steps": [*pair["steps"], Step("decontaminate").as_dict()]} for pair in pairs]
    assert statistics(checked, [])["sets"]["preferences"] == found


def test_statistics_tell_what_the_sides_could_be_told_apart_by(make) -> None:
    records = [
        make.preference("写一首诗", "您好！好诗一首。", "坏诗。", split="train"),
        make.preference("写两首诗", "1. 好诗。\n2. 又一首。", "你好，坏诗。", split="train"),
    ]
    pairs, rejects = general_pairs(records, SETTINGS)
    found = statistics(pairs, rejects)["sets"]["preferences"]
    assert (found["rows"], found["low_answers"]) == (2, 0)
    chosen, rejected = found["sides"]["chosen"], found["sides"]["rejected"]
    assert (chosen["greeting"], chosen["list"], chosen["longer"]) == (0.5, 0.5, 1.0)
    assert (rejected["greeting"], rejected["list"], rejected["longer"]) == (0.5, 0.0, 0.0)
    assert chosen["length"]["p100"] == len("1. 好诗。\n2. 又一首。")
    assert statistics([], [])["sets"]["preferences"]["sides"]["chosen"]["greeting"] == 0.0


def test_pairs_of_safety_rows_have_the_aspect_safety(make) -> None:
    rows = [make.row("safety", 1), make.row("medkqa", 1)]
    pairs, _ = medical_pairs(rows, {row["id"]: "不知道。" for row in rows})
    assert [pair["aspect"] for pair in pairs] == ["safety", "style"]
    found = statistics([*pairs, *safety_pairs(BehaviourSettings())], [])["sets"]["preferences"]
    assert found["aspects"]["style"] == 1
    assert found["aspects"]["safety"] > 70
    assert found["probe"]["n"] == found["rows"]
    assert 0 <= found["probe"]["auc"] <= 1


def test_the_safe_side_of_our_pairs_is_not_told_by_its_length() -> None:
    """Both sides are ours, so a shortcut between them would be our own making."""
    found = statistics(safety_pairs(BehaviourSettings()), [])["sets"]["preferences"]
    assert 0.4 < found["probe"]["features"]["length"] < 0.65
    assert found["sides"]["chosen"]["greeting"] == found["sides"]["rejected"]["greeting"] == 0.0
    assert found["sides"]["chosen"]["list"] == found["sides"]["rejected"]["list"] == 0.0
