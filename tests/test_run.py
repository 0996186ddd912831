"""The graph's engine on small nodes of its own: what is stale, what is skipped, what survives a failure."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from pediatricsgpt.errors import UserError
from pediatricsgpt.recipe import Recipe
from pediatricsgpt.run import Context, Node, Run

RECIPE = Recipe.model_validate(
    {
        "name": "x",
        "corpus": {
            "sources": [
                {"name": "a", "kind": "text", "path": "a", "licence": "CC0", "consent": "none", "purpose": "tests"}
            ]
        },
        "model": {"base": "owner/name"},
    }
)


def _write(text: str) -> Callable[[Context], dict[str, Any]]:
    def work(context: Context) -> dict[str, Any]:
        (context.folder / "data").write_text(text)
        return {"rows": len(text)}

    return work


def _node(name: str, *inputs: str, text: str = "x", settings: Any = None, files: list[Path] | None = None) -> Node:
    return Node(name, inputs, settings, ("pediatricsgpt.text",), _write(text), files=lambda: files or [])


def _run(tmp_path: Path, *nodes: Node) -> Run:
    return Run(RECIPE, tmp_path, tmp_path / "runs/x", nodes, Console(quiet=True))


def _execute(tmp_path: Path, *nodes: Node) -> list[str]:
    run = _run(tmp_path, *nodes)
    run.folder.mkdir(parents=True, exist_ok=True)
    return run.execute(run.nodes)


def test_the_second_time_nothing_is_done(tmp_path: Path) -> None:
    nodes = (_node("a"), _node("b", "a"))
    assert _execute(tmp_path, *nodes) == ["a", "b"]
    assert _execute(tmp_path, *nodes) == []


def test_a_changed_setting_redoes_the_node_and_what_follows(tmp_path: Path) -> None:
    _execute(tmp_path, _node("a"), _node("b", "a"), _node("c", "b"), _node("d", "a"))
    changed = _execute(tmp_path, _node("a"), _node("b", "a", text="y", settings=1), _node("c", "b"), _node("d", "a"))
    assert changed == ["b", "c"]


def test_the_same_result_does_not_spread(tmp_path: Path) -> None:
    _execute(tmp_path, _node("a"), _node("b", "a"))
    assert _execute(tmp_path, _node("a", settings="reworded"), _node("b", "a")) == ["a"]


def test_a_changed_source_file_is_noticed(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_text("1")
    _execute(tmp_path, _node("a", files=[source]))
    assert _execute(tmp_path, _node("a", files=[source])) == []
    source.write_text("22")
    assert _execute(tmp_path, _node("a", files=[source])) == ["a"]


def test_a_file_that_moves_within_a_source_folder_is_noticed(tmp_path: Path) -> None:
    first, second = tmp_path / "books/one/a.txt", tmp_path / "books/two/a.txt"
    for folder in (first.parent, second.parent):
        folder.mkdir(parents=True)
    first.write_text("1")
    _execute(tmp_path, _node("a", files=[first]))
    first.rename(second)
    assert _execute(tmp_path, _node("a", files=[second])) == ["a"]


def test_a_project_that_moves_is_no_change(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    old.mkdir()
    (old / "source").write_text("1")
    _execute(old, _node("a", files=[old / "source"]))
    old.rename(new)
    assert _execute(new, _node("a", files=[new / "source"])) == []


def test_states_leave_the_disk_alone_and_a_run_repairs_it(tmp_path: Path) -> None:
    _execute(tmp_path, _node("a"), _node("b", "a"))
    (tmp_path / "runs/x/a").rename(tmp_path / "runs/x/a.old")
    run = _run(tmp_path, _node("a"), _node("b", "a"))
    before = sorted(tmp_path.rglob("*"))
    assert [state.status for state in run.states(run.nodes)] == ["done", "done"]
    assert sorted(tmp_path.rglob("*")) == before
    assert run.execute(run.nodes) == []
    assert (tmp_path / "runs/x/a/data").is_file()


def test_a_failure_leaves_earlier_and_older_results_valid(tmp_path: Path) -> None:
    _execute(tmp_path, _node("a"), _node("b", "a"))

    def full_disk(context: Context) -> dict[str, Any]:
        (context.folder / "half").write_text("half")
        raise OSError(28, "No space left on device")

    broken = Node("b", ("a",), "new", ("pediatricsgpt.text",), full_disk)
    with pytest.raises(UserError, match="the disk is full"):
        _execute(tmp_path, _node("a"), broken)
    assert (tmp_path / "runs/x/b/data").read_text() == "x"
    assert _execute(tmp_path, _node("a"), _node("b", "a")) == []


def test_force_redoes_a_stage_and_what_follows_once(tmp_path: Path) -> None:
    nodes = (_node("a"), _node("b/one", "a"), _node("c", "b/one"), _node("d", "a"))
    _execute(tmp_path, *nodes)
    run = _run(tmp_path, *nodes)
    run.force("b")
    assert run.execute(run.nodes) == ["b/one", "c"]
    assert run.execute(run.nodes) == []


def test_select_takes_what_is_needed_and_nothing_else(tmp_path: Path) -> None:
    run = _run(tmp_path, _node("a"), _node("b", "a"), _node("c", "a"), _node("d", "b"))
    assert [node.name for node in run.select(["d"])] == ["a", "b", "d"]
    with pytest.raises(UserError, match="no stage 'e'; there are a, b, c, d"):
        run.select(["e"])


def test_states_say_done_to_do_and_waiting(tmp_path: Path) -> None:
    _execute(tmp_path, _node("a"), _node("b", "a"))
    run = _run(tmp_path, _node("a"), _node("b", "a", settings=1), _node("c", "b"))
    assert [state.status for state in run.states(run.nodes)] == ["done", "run", "waits"]


def test_the_manifest_accounts_for_inputs_and_counts(tmp_path: Path) -> None:
    from pediatricsgpt.manifest import read_manifest

    _execute(tmp_path, _node("a"), _node("b", "a", text="yy"))
    first, second = (read_manifest(tmp_path / "runs/x" / name) for name in "ab")
    assert first is not None
    assert second is not None
    assert second.inputs == {"a": first.content}
    assert second.counts == {"rows": 2}
    assert second.versions["pediatricsgpt"]
    assert second.peak_memory_mb > 0


def test_a_folder_means_what_it_gives_by_itself(tmp_path: Path) -> None:
    nodes = (_node("corpus/a"), _node("corpus/b", "corpus/a"), _node("sft", "corpus/b"), _node("corpus/pairs", "sft"))
    run = _run(tmp_path, *nodes, _node("evaluation/sft", "sft"))
    assert [node.name for node in run.select(["corpus"])] == ["corpus/a", "corpus/b"]
    assert [node.name for node in run.select(["evaluation"])] == ["corpus/a", "corpus/b", "sft", "evaluation/sft"]


def _half(settings: dict[str, Any], seen: list[bool], lost: str | None = "a checkpoint of step 4") -> Node:
    """A node that breaks off the first time; its half-done work depends on `lr` alone."""

    def work(context: Context) -> dict[str, Any]:
        seen.append((context.folder / "half").exists())
        (context.folder / "half").write_text("hours of work")
        if len(seen) == 1:
            raise KeyboardInterrupt
        return {}

    return Node(
        "a",
        (),
        settings,
        ("pediatricsgpt.text",),
        work,
        unfinished_settings={"trainer": {"lr": settings["trainer"]["lr"]}},
        would_lose=lambda folder: lost if (folder / "half").exists() else None,
    )


def _begun(tmp_path: Path, seen: list[bool]) -> None:
    with pytest.raises(KeyboardInterrupt):
        _execute(tmp_path, _half({"trainer": {"lr": 1, "shown": 1}}, seen))


def test_half_done_work_goes_on_where_only_what_is_shown_has_changed(tmp_path: Path) -> None:
    seen: list[bool] = []
    _begun(tmp_path, seen)
    assert _execute(tmp_path, _half({"trainer": {"lr": 1, "shown": 2}}, seen)) == ["a"]
    assert seen == [False, True]
    # When it is finished, every setting counts.
    assert _execute(tmp_path, _half({"trainer": {"lr": 1, "shown": 3}}, seen)) == ["a"]


def test_half_done_work_that_took_long_is_not_thrown_away_by_a_change(tmp_path: Path) -> None:
    seen: list[bool] = []
    _begun(tmp_path, seen)
    changed = _half({"trainer": {"lr": 2, "shown": 1}}, seen)
    with pytest.raises(UserError, match=r"a checkpoint of step 4.*trainer\.lr \(1 then, 2 now\)") as error:
        _execute(tmp_path, changed)
    assert "\n" not in str(error.value)
    partial = tmp_path / "runs/x/a.partial"
    assert str(error.value).startswith(str(partial))
    assert (partial / "half").read_text() == "hours of work"
    assert seen == [False]
    # The way back goes on, force begins anew, and so does a folder that was deleted.
    assert _execute(tmp_path, _half({"trainer": {"lr": 1, "shown": 1}}, seen)) == ["a"]
    assert seen == [False, True]


def test_force_begins_anew_whatever_was_half_done(tmp_path: Path) -> None:
    seen: list[bool] = []
    _begun(tmp_path, seen)
    run = _run(tmp_path, _half({"trainer": {"lr": 2, "shown": 1}}, seen))
    run.force("a")
    assert run.execute(run.nodes) == ["a"]
    assert seen == [False, False]


def test_half_done_work_of_seconds_is_thrown_away(tmp_path: Path) -> None:
    seen: list[bool] = []
    with pytest.raises(KeyboardInterrupt):
        _execute(tmp_path, _half({"trainer": {"lr": 1}}, seen, lost=None))
    assert _execute(tmp_path, _half({"trainer": {"lr": 2}}, seen, lost=None)) == ["a"]
    assert seen == [False, False]
