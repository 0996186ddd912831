"""Measuring a model: what is written, and that the bar comes to its end."""

from __future__ import annotations

import json
from pathlib import Path

from pediatricsgpt.evaluation.evaluate import LOSS, TEXT_LOSS, evaluate, workload
from pediatricsgpt.evaluation.settings import EvaluationSettings
from tests.rows import instruction, text, write

SETTINGS = EvaluationSettings(benchmarks=["medkqa"], max_items=2, max_loss_rows=3, max_new_tokens=2, batch_size=2)


def test_losses_by_row_and_perplexity_by_form_are_written(model_folder: Path, tmp_path: Path) -> None:
    rows = [instruction(f"发热{n}天怎么办", "多喝水。", split="held_out") for n in range(4)]
    held_out = write(tmp_path, "instruction", rows)
    told = [{**text(f"问：咳嗽{n}天？答：就诊。", "held_out"), "form": "instruction"} for n in range(2)]
    texts = write(tmp_path, "cpt", [text("小儿肺炎多由病毒引起。", "held_out"), *told])
    folder = tmp_path / "evaluation"
    folder.mkdir()
    done: list[int] = []
    counts = evaluate("sft", model_folder, held_out, folder, SETTINGS, 1, done.append, texts)
    assert sum(done) == workload(held_out, SETTINGS, texts)
    loss = json.loads((folder / LOSS).read_text(encoding="utf-8"))
    assert len(loss["items"]) == loss["rows"] == counts["loss_rows"] == 3
    assert sum(item["tokens"] for item in loss["items"]) == loss["tokens"]
    found = json.loads((folder / TEXT_LOSS).read_text(encoding="utf-8"))
    assert {name: one["rows"] for name, one in found["by_form"].items()} == {"plain": 1, "instruction": 2}
    assert found["by_source"].keys() == {"tests"}
    assert counts["text_rows"] == 3
    assert counts["text_tokens"] == sum(one["tokens"] for one in found["by_form"].values())


def test_without_texts_there_is_no_perplexity(model_folder: Path, tmp_path: Path) -> None:
    held_out = write(tmp_path, "instruction", [instruction("发热怎么办", "多喝水。", split="held_out")])
    folder = tmp_path / "evaluation"
    folder.mkdir()
    counts = evaluate("sft", model_folder, held_out, folder, SETTINGS, 1)
    assert not (folder / TEXT_LOSS).exists()
    assert "text_rows" not in counts
