"""What the report says of the phases: their rows, their mixture, style as a shortcut, and why one stopped."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pediatricsgpt.errors import UserError
from pediatricsgpt.evaluation.report import write_report
from pediatricsgpt.evaluation.report.files import RunFiles
from pediatricsgpt.evaluation.report.mixture import Cut, account, parts
from pediatricsgpt.evaluation.report.shortcuts import shortcuts

from .conftest import SmallRun, write_shortcuts
from .page import report, words

SHORT, LONG = "多喝水。", "您好，宝宝发热应当尽快就诊，由医生查体并检查血常规，路上注意保暖，祝早日康复！"


def change(run: SmallRun, phase: str, **counts: Any) -> None:
    """Other counts in the manifest of a phase; None takes one away."""
    path = run.folder / phase / "manifest.json"
    manifest = json.loads(path.read_text("utf-8"))
    changed = {**manifest["counts"], **counts}
    manifest["counts"] = {name: value for name, value in changed.items() if value is not None}
    path.write_text(json.dumps(manifest), encoding="utf-8")


def section(html: str, name: str) -> str:
    """The words of the section below a heading of third order."""
    return words(re.sub(r"<[^>]+>", " ", html.split(f'<h3 id="{name}">')[1].split("<h3")[0]))


def test_every_row_of_a_set_is_in_a_pass_or_left_out_for_a_reason(whole: SmallRun) -> None:
    change(whole, "sft", rows=40, without_loss=1, left_out_mixture=4, left_out_held_out=6)
    found = account(RunFiles(whole.folder).manifest("sft"))
    assert found is not None
    assert (found.rows, found.used, found.left_out) == (40, 14, 26)
    assert [(reason.english, reason.rows) for reason in found.reasons] == [
        ("too long", 2),
        ("nothing to learn", 1),
        ("in no part of the mixture", 4),
        ("not drawn, or a repeat", 19),
    ]
    assert sum(reason.rows for reason in found.reasons) == found.left_out
    assert (found.cut, found.held_out) == (Cut(3, 5, 789), 6)


def test_what_became_of_the_rows_is_shown_for_every_phase(whole: SmallRun) -> None:
    change(whole, "sft", left_out_held_out=6)
    text = section(write_report(whole.folder).read_text("utf-8"), "rows")
    kept = "18 14 4 22.2 % too long 过长 2 · not drawn, or a repeat 未抽到或重复 2"
    cut = "3 5 turns, 789 tokens"
    assert f"CPT {kept} {cut} SFT {kept} and 6 rows of own sets that have another split than train {cut}" in text
    assert "DFPO 30 28 2 6.7 % equal sides 两侧相同 2 –" in text
    page = report(whole)
    assert "监督微调 18 条中 4 条（过长 2、未抽到或重复 2）；偏好优化 30 条中 2 条（两侧相同 2）" in page.text


def test_every_reason_of_a_preference_set_has_words(whole: SmallRun) -> None:
    from pediatricsgpt.training.preference.data import REASONS

    change(whole, "dfpo", rows=28 + len(REASONS), **dict.fromkeys(REASONS, 1))
    found = account(RunFiles(whole.folder).manifest("dfpo"))
    assert found is not None
    assert [reason.rows for reason in found.reasons] == [1] * len(REASONS)
    assert "not drawn, or a repeat" not in [reason.english for reason in found.reasons]


def test_what_each_part_of_a_mixture_gave_is_shown_and_a_single_part_is_not(whole: SmallRun) -> None:
    html = write_report(whole.folder).read_text("utf-8")
    text = section(html, "mixture")
    rows = "corpus set 10 9,345 4,672 75.7 % &lt;own&gt; set 4 3,000 1,500 24.3 %"
    tasks = "MedKQ&amp;A 知识问答 task 9 9,345 4,672 75.7 % EviDiag 循证问诊 task 5 3,000 1,500 24.3 %"
    assert text.count(f"{rows} {tasks}") == 3  # CPT, SFT, experts
    assert "SFT: 12,345 tokens in 4 parts" in text
    assert "guidelines" not in text
    assert [part.kind for part in parts(RunFiles(whole.folder).manifest("sft"))] == ["set", "set", "task", "task"]


def test_names_of_sources_are_not_taken_for_tasks(whole: SmallRun) -> None:
    one = {"rows": 7, "tokens": 6000, "loss_tokens": 3000, "share_percent": 50.0}
    change(whole, "sft", by_source={"school": one, "safety": one})
    text = section(write_report(whole.folder).read_text("utf-8"), "mixture")
    assert "safety source 7 6,000 3,000 50.0 % school source 7" in text


def test_a_run_that_counted_nothing_has_neither_table(whole: SmallRun) -> None:
    for phase in ("cpt", "sft", "dfpo", "experts"):
        change(whole, phase, by_set=None, by_task=None, by_source=None, pairs=None)
    page = report(whole)
    assert not {"rows", "mixture"} & set(page.ids)
    assert "未用于训练" not in page.text


def style_of(run: SmallRun, chosen: str, rejected: str, n: int = 40) -> None:
    write_shortcuts(run.folder / "dfpo", [chosen] * n, [rejected] * n)


def test_style_that_tells_the_sides_apart_is_warned_of(whole: SmallRun) -> None:
    style_of(whole, LONG, SHORT)
    html = write_report(whole.folder).read_text("utf-8")
    text = section(html, "shortcuts")
    assert "with an area under the curve (AUC) of 1.00 over n = 40 pairs" in text
    assert "In 100.0 % of the pairs the preferred answer has the higher score." in text
    assert "the recipe warns above 0.75" in text
    sides = [f"{side} {n} – {n} – {n}" for side, n in (("chosen", len(LONG)), ("rejected", len(SHORT)))]
    assert f"{sides[0]} 100.0 % 100.0 % 100.0 % 0.0 % {sides[1]} 0.0 % 0.0 % 0.0 % 0.0 %" in text
    assert "greeting 问候语 1.00 preferred answers" in text
    assert "list 列表 0.50 neither" in text
    notice = words(html.split("Check before trusting the numbers")[1].split("</ul>")[0])
    assert 'preferred answers from the low ones (AUC 1.00, n = 40 pairs). <a href="#shortcuts">' in notice
    assert "AUC 1.00（n = 40 对，0.5 为无法区分），模型可能学到文风而非内容" in html


def test_style_that_tells_nothing_is_called_chance(whole: SmallRun) -> None:
    style_of(whole, SHORT, SHORT)
    html = write_report(whole.folder).read_text("utf-8")
    assert "That is what chance gives." in section(html, "shortcuts")
    assert "Style alone tells" not in html.split("</header>")[0]


def test_an_unknown_shortcut_says_why_and_few_pairs_say_so(whole: SmallRun) -> None:
    style_of(whole, LONG, SHORT, n=8)
    text = section(write_report(whole.folder).read_text("utf-8"), "shortcuts")
    assert "8 pairs are too few" in text
    assert f"chosen {len(LONG)} – {len(LONG)}" in text
    (whole.folder / "dfpo/shortcuts.json").write_text('{"missing": "no <file>"}', encoding="utf-8")
    text = section(write_report(whole.folder).read_text("utf-8"), "shortcuts")
    assert "Unknown: no &lt;file&gt;." in text
    assert "side" not in text


def test_without_the_phase_there_is_nothing_to_say_of_style(with_corpus: SmallRun) -> None:
    assert shortcuts(RunFiles(with_corpus.folder)) is None
    assert "shortcuts" not in report(with_corpus).ids


def test_every_feature_of_the_probe_has_words_for_it() -> None:
    from pediatricsgpt.corpus.build.shortcuts import FEATURES
    from pediatricsgpt.evaluation.report.words import style

    assert all(style(name)[1] for name in FEATURES)


def test_which_phase_stopped_and_why_stands_at_the_head(whole: SmallRun) -> None:
    assert "提前停止" not in report(whole).text
    change(whole, "sft", stopped="at step 20: held-out loss of '<general>' rose; step 10 is kept")
    html = write_report(whole.folder).read_text("utf-8")
    head = html.split("</header>")[0]
    reason = "SFT stopped at step 20: held-out loss of &#39;&lt;general&gt;&#39; rose; step 10 is kept."
    assert f'{reason} <a href="#phase-sft">' in head
    assert "提前停止：监督微调，原因见训练一节。" in head
    assert 'id="phase-sft"' in html


def damage_style(folder: Path) -> str:
    (folder / "dfpo/shortcuts.json").write_text('{"sides": {}, "probe": {"auc": 0.5}}', encoding="utf-8")
    return "dfpo/shortcuts.json"


def damage_sets(folder: Path) -> str:
    change(SmallRun(folder), "sft", by_set={"corpus": 3})
    return "sft/manifest.json"


def damage_parts(folder: Path) -> str:
    change(SmallRun(folder), "sft", by_task={"medkqa": {"rows": 3}})
    return "sft/manifest.json"


@pytest.mark.parametrize("damage", [damage_style, damage_sets, damage_parts])
def test_what_is_damaged_is_named(whole: SmallRun, damage: Callable[[Path], str]) -> None:
    where = damage(whole.folder)
    with pytest.raises(UserError) as caught:
        write_report(whole.folder)
    assert str(caught.value.where).endswith(where)
