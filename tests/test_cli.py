"""The command line from outside: what a user types wrong, and what is then said. One line, exit code 2."""

from __future__ import annotations

import hashlib
import io
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import yaml
from rich.console import Console

from pediatricsgpt.evaluation.metrics import score as score_pairs
from tests.conftest import NO_ROOT, can_mount, excused

REPOSITORY = Path(__file__).parents[1]
TOKENIZER = REPOSITORY / "examples/tokenizer"
GUIDELINE = next((REPOSITORY / "examples/guidelines").glob("*诺如*.json"))


def content_hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _pedgpt(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pediatricsgpt.cli", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
    )


def _refused(folder: Path, *arguments: str) -> str:
    """The one line of a refused command."""
    done = _pedgpt(folder, *arguments)
    assert done.returncode == 2, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    assert len(lines) == 1, done.stderr
    return lines[0]


def _recipe(folder: Path, **source: str) -> str:
    """A recipe of one guideline and, where given, one source more."""
    grounds = {"licence": "CC0", "consent": "none needed", "purpose": "tests"}
    sources = [{"name": "good", "kind": "guideline", "path": str(GUIDELINE), **grounds}]
    if source:
        sources.append({"name": "bad", **grounds, **source})
    shape = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "head_dim": 8}
    model = {"init": {**shape, "num_attention_heads": 1, "num_key_value_heads": 1}, "tokenizer": str(TOKENIZER)}
    # how well persons are found is not the question here
    corpus = {"sources": sources, "deidentify": {"floor_names": 0}}
    recipe = {"name": "x", "corpus": corpus, "model": model}
    (folder / "r.yaml").write_text(yaml.safe_dump(recipe, allow_unicode=True), encoding="utf-8")
    return "r.yaml"


@pytest.mark.parametrize("command", [(), ("corpus",), ("train",), ("recipe",)])
def test_help_of_every_group_says_what_there_is(tmp_path: Path, command: tuple[str, ...]) -> None:
    done = _pedgpt(tmp_path, *command, "--help")
    assert done.returncode == 0
    assert "Commands" in done.stdout


def test_an_unknown_command_is_exit_2(tmp_path: Path) -> None:
    done = _pedgpt(tmp_path, "trian")
    assert done.returncode == 2
    assert "No such command 'trian'" in done.stderr


def test_a_source_path_that_does_not_exist(tmp_path: Path) -> None:
    recipe = _recipe(tmp_path, kind="guideline", path="nowhere")
    for command in (("recipe", "check"), ("corpus", "build"), ("run",), ("plan",)):
        assert "nowhere: no such file or folder" in _refused(tmp_path, *command, recipe)


@pytest.mark.parametrize(
    ("name", "kind", "content", "said"),
    [
        ("empty.json", "guideline", b"", "empty.json: the file is empty"),
        ("fake.pdf", "guideline", b"this is no PDF", "fake.pdf:"),
        ("columns.csv", "conversation", "科室,问题\n儿科,发烧\n".encode(), "columns.csv"),
        ("random.txt", "textbook", bytes(range(128, 256)) * 20, "unknown encoding"),
        ("broken.json", "dataset", b'[{"question": "a", ', "broken.json:1"),
    ],
)
def test_a_file_that_cannot_be_read(tmp_path: Path, name: str, kind: str, content: bytes, said: str) -> None:
    (tmp_path / name).write_bytes(content)
    recipe = _recipe(tmp_path, kind=kind, path=name)
    assert said in _refused(tmp_path, "corpus", "build", recipe)
    assert (tmp_path / "runs/x/corpus/sources/good/manifest.json").is_file()  # nothing done is lost


def test_a_broken_json_line_is_rejected_with_its_number_and_the_rest_is_read(tmp_path: Path) -> None:
    good = json.dumps({"question": "孩子发烧怎么办？", "answer": "先量体温，多喝水，注意精神。"}, ensure_ascii=False)
    (tmp_path / "qa.jsonl").write_text(f'{good}\n{{"question": "孩\n{good.replace("发烧", "咳嗽")}\n', encoding="utf-8")
    recipe = _recipe(tmp_path, kind="dataset", path="qa.jsonl")
    done = _pedgpt(tmp_path, "run", recipe, "--until", "corpus/cpt")
    assert done.returncode == 0, done.stderr
    source = tmp_path / "runs/x/corpus/sources/bad"
    counts = json.loads((source / "manifest.json").read_text())["counts"]
    assert {name: counts[name] for name in ("read", "kept", "rejected")} == {"read": 3, "kept": 2, "rejected": 1}
    assert "qa.jsonl:2" in _pedgpt(tmp_path, "corpus", "show", "runs/x", "--rejects").stdout


def test_misspelt_keys_wrong_types_and_contradictions(tmp_path: Path) -> None:
    recipe = _recipe(tmp_path)
    assert "did you mean 'beta'" in _refused(tmp_path, "run", recipe, "--set", "dfpo.bta=1")
    assert "experts.r" in _refused(tmp_path, "run", recipe, "--set", "experts.r=many")
    assert "exactly one of" in _refused(tmp_path, "run", recipe, "--set", "model.base=a/b")
    assert "no stage 'stf'" in _refused(tmp_path, "run", recipe, "--until", "stf")
    assert "no phase 'stf'" in _refused(tmp_path, "preview", recipe, "stf")


def test_a_model_path_without_weights(tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    (tmp_path / "m/config.json").write_text("{}")
    assert "no weights in this folder" in _refused(tmp_path, "chat", "m", "--ask", "你好")
    assert "no such model folder" in _refused(tmp_path, "chat", "./none", "--ask", "你好")
    recipe = _recipe(tmp_path)
    changes = ("--set", "model.init=null", "--set", "model.base=m", "--set", "model.tokenizer=null")
    assert "no weights in this folder" in _refused(tmp_path, "run", recipe, "--until", "base", *changes)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"prediction": "a"}', "reference"),
        ('{"predicton": "a", "reference": "b"}', "prediction"),
        ('{"prediction": 3, "reference": "b"}', "prediction"),
        ("not json", "p.jsonl:1"),
        ("", "empty"),
    ],
)
def test_a_predictions_file_with_a_missing_or_wrong_field(tmp_path: Path, line: str, said: str) -> None:
    (tmp_path / "p.jsonl").write_text(line + "\n", encoding="utf-8")
    assert said in _refused(tmp_path, "score", "p.jsonl")


def test_questions_for_generate_are_checked_before_the_model_is_loaded(tmp_path: Path) -> None:
    (tmp_path / "q.jsonl").write_text('{"mesages": []}\n', encoding="utf-8")
    said = _refused(tmp_path, "generate", "./none", "--data", "q.jsonl", "--out", "o.jsonl")
    assert "q.jsonl:1" in said
    assert "mesages" in said


def test_an_output_folder_that_cannot_be_written(tmp_path: Path) -> None:
    recipe = _recipe(tmp_path)
    (tmp_path / "file").write_text("")
    assert "a file stands where a folder is needed" in _refused(tmp_path, "run", recipe, "--runs", "file")
    assert "/proc" in _refused(tmp_path, "run", recipe, "--runs", "/proc/runs")


def test_an_output_file_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "p.jsonl").write_text('{"prediction": "多喝水", "reference": "多喝水"}\n', encoding="utf-8")
    (tmp_path / "q.jsonl").write_text('{"question": "发烧"}\n', encoding="utf-8")
    assert "cannot be written" in _refused(tmp_path, "score", "p.jsonl", "--json", "nowhere/x.json")
    assert "this is a folder" in _refused(tmp_path, "score", "p.jsonl", "--json", ".")
    assert "cannot be written" in _refused(tmp_path, "generate", "m", "--data", "q.jsonl", "--out", "/proc/g.jsonl")


def test_the_commands_that_look_need_something_to_look_at(tmp_path: Path) -> None:
    assert "pedgpt corpus build" in _refused(tmp_path, "corpus", "stats", ".")
    assert "no run here" in _refused(tmp_path, "report", ".")
    assert "no recipes" in _refused(tmp_path, "recipe", "list", ".")
    assert "not built yet" in _refused(tmp_path, "preview", _recipe(tmp_path), "sft")


def test_debug_shows_the_traceback_wherever_it_stands(tmp_path: Path) -> None:
    for arguments in (("--debug", "score", "none.jsonl"), ("score", "none.jsonl", "--debug")):
        assert "Traceback" in _pedgpt(tmp_path, *arguments).stderr


def test_env_describes_the_machine(tmp_path: Path) -> None:
    facts = json.loads(_pedgpt(tmp_path, "env", "--json").stdout)
    assert facts["cores"] >= 1
    assert facts["extras"]["train"] == "installed"
    assert "cores" in _pedgpt(tmp_path, "env").stdout


def test_recipes_are_listed_shown_and_explained(tmp_path: Path) -> None:
    listed = _pedgpt(REPOSITORY, "recipe", "list").stdout
    assert "recipes/demo.yaml" in listed
    shown = yaml.safe_load(_pedgpt(REPOSITORY, "recipe", "show", "recipes/demo.yaml", "--set", "dfpo.mu=0.5").stdout)
    assert shown["dfpo"]["mu"] == 0.5
    assert "# Weight of the likelihood" in _pedgpt(tmp_path, "recipe", "show").stdout


def test_ctrl_c_says_that_the_run_goes_on_where_it_was(tmp_path: Path) -> None:
    recipe = _recipe(tmp_path)
    with subprocess.Popen(
        [sys.executable, "-m", "pediatricsgpt.cli", "run", recipe, "--until", "base"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a job in the background ignores it
    ) as run:
        assert run.stdout is not None
        assert next(line for line in run.stdout if "] " in line)
        run.send_signal(signal.SIGINT)
        said = run.communicate()[1]
    assert run.returncode == 130, said
    assert said.split() == [
        "error:",
        "stopped;",
        "the",
        "same",
        "command",
        "goes",
        "on",
        "with",
        "what",
        "it",
        "has",
        "kept",
    ]


def test_a_reader_that_goes_away_is_no_error(tmp_path: Path) -> None:
    recipe = _recipe(tmp_path)
    assert _pedgpt(tmp_path, "run", recipe, "--until", "corpus/cpt").returncode == 0
    show = f"{sys.executable} -m pediatricsgpt.cli corpus show runs/x --set cpt -n 5000"
    done = subprocess.run(["sh", "-c", f"{show} | head -1"], cwd=tmp_path, capture_output=True, text=True)
    assert done.stderr == ""
    assert len(done.stdout.splitlines()) == 1


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "gb18030"])
def test_chinese_never_ends_a_command_whatever_the_terminal_speaks(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "儿科.yaml").write_text("# 儿科：演示\nname: x\n", encoding="utf-8")
    command = [sys.executable, "-m", "pediatricsgpt.cli"]
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    listed = subprocess.run([*command, "recipe", "list", "."], cwd=tmp_path, capture_output=True, env=environment)
    assert listed.returncode == 0, listed.stderr
    if encoding != "latin-1":
        assert "儿科：演示" in listed.stdout.decode("utf-8" if encoding == "ascii" else encoding)
    failed = subprocess.run([*command, "report", "儿科"], cwd=tmp_path, capture_output=True, env=environment)
    assert failed.returncode == 2
    assert b"no run here" in failed.stderr


def test_every_path_that_a_recipe_names_is_checked_before_anything_runs(tmp_path: Path) -> None:
    recipe = _recipe(tmp_path)
    for command in (("recipe", "check"), ("plan",)):
        for setting in ("model.chat_template", "corpus.build.behaviour.file", "model.tokenizer"):
            said = _refused(tmp_path, *command, recipe, "--set", f"{setting}=none.x")
            assert "none.x: no " in said
            assert setting in said
        base = ("model.init=null", "model.tokenizer=null", "model.base=./none")
        changes = [argument for change in base for argument in ("--set", change)]
        assert "no such model folder" in _refused(tmp_path, *command, recipe, *changes)
    assert "no such file" in _refused(
        tmp_path, "corpus", "build", recipe, "--set", "corpus.build.behaviour.file=none.x"
    )
    shutil.rmtree(tmp_path / "runs")
    assert "none.x: no such file" in _refused(tmp_path, "run", recipe, "--set", "model.chat_template=none.x")
    assert not (tmp_path / "runs").exists()


def test_plan_estimates_a_first_run_cuts_no_number_and_leaves_the_disk_alone(tmp_path: Path) -> None:
    recipe = _recipe(tmp_path)
    done = _pedgpt(tmp_path, "plan", recipe, "--set", "sft.trainer.max_steps=1234567", COLUMNS="80")
    assert done.returncode == 0, done.stderr
    assert "…" not in done.stdout
    assert not (tmp_path / "runs").exists()
    assert max(map(len, done.stdout.splitlines())) <= 80
    lines = [line.split("│") for line in done.stdout.splitlines() if "│" in line]
    rows: dict[str, list[str]] = {}
    memory: dict[str, list[str]] = {}  # the second table
    for cells in lines:
        name, *figures = (cell.strip() for cell in cells[1:-1])
        (memory if name in rows else rows)[name] = figures
    assert rows["corpus/sources/good"][2].startswith("~")
    for phase in ("cpt", "sft", "dfpo", "experts"):
        _, count, tokens, steps, most, time = rows[phase]
        assert all(figure.startswith("~") for figure in (count, tokens, most, time)), rows[phase]
        assert len(memory[phase]) == 7
        assert steps == "1,234,567" if phase == "sft" else steps.startswith("~")
    assert "a nominal 100 GFLOP/s" in " ".join(done.stdout.split())


def test_score_shows_how_far_it_is(tmp_path: Path) -> None:
    from pediatricsgpt.progress import progress_of

    console = Console(force_terminal=True, file=io.StringIO(), width=80)
    with progress_of(console, "scoring") as advance:
        score_pairs([("发烧", "发热")] * 3, "char", progress=advance)
    assert isinstance(console.file, io.StringIO)
    assert "scoring" in console.file.getvalue()
    assert "100%" in console.file.getvalue()


def _limit(largest: int) -> None:
    """No file may be larger: nearly what a full disk is, without being root. Python ignores the signal."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (largest, largest))


@pytest.mark.parametrize(
    ("node", "largest", "said"),
    [
        ("corpus/sources/bad", 30_000, "larger than is allowed"),
        ("base", 30_000, "larger than is allowed"),
        pytest.param("cpt", 600_000, "PyTorch could not write a checkpoint", marks=pytest.mark.check),
    ],
)
def test_a_file_that_may_not_grow_is_one_line_and_loses_nothing(
    tmp_path: Path, node: str, largest: int, said: str
) -> None:
    own_source = node == "corpus/sources/bad"
    if own_source:
        digits = (f"{index:x}" for index in range(3000))
        rows = [{"question": content_hash(digit), "answer": content_hash(digit + "a")} for digit in digits]
        (tmp_path / "qa.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    recipe = _recipe(tmp_path, **({"kind": "dataset", "path": "qa.jsonl"} if own_source else {}))
    changes = ("--set", "cpt.max_length=32", "--set", "cpt.trainer={max_steps: 2, save_steps: 1}")
    command = [sys.executable, "-m", "pediatricsgpt.cli", "run", recipe, *changes, "--until", node]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, preexec_fn=partial(_limit, largest))
    assert done.returncode == 2, done.stderr
    assert len([line for line in done.stderr.splitlines() if line.strip()]) == 1, done.stderr
    assert said in done.stderr
    assert node in done.stderr
    assert not (tmp_path / "runs/x" / node).exists()
    again = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    assert (tmp_path / "runs/x" / node / "manifest.json").is_file()


def test_want_of_root_excuses_a_skip_only_where_nothing_can_be_mounted(monkeypatch: pytest.MonkeyPatch) -> None:
    assert excused(f"{NO_ROOT}, to mount a tiny file system") is not can_mount()
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    can_mount.cache_clear()
    assert excused(f"{NO_ROOT}, to mount a tiny file system")
    can_mount.cache_clear()


@pytest.mark.check
@pytest.mark.skipif(not can_mount(), reason=f"{NO_ROOT}, to mount a tiny file system")
def test_a_full_disk_is_one_line_and_loses_nothing(tmp_path: Path) -> None:
    recipe = _recipe(tmp_path)
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)], check=True)
    try:
        (disk / "filler").write_bytes(b"x" * 600_000)
        shape = [f"model.init.{name}=128" for name in ("hidden_size", "intermediate_size")]
        changes = [argument for change in shape for argument in ("--set", change)]
        said = _refused(tmp_path, "run", recipe, "--runs", "disk", *changes, "--until", "base")
        assert "the disk is full" in said
        assert "base" in said
        (disk / "filler").unlink()
        done = [path.parent.name for path in disk.rglob("manifest.json")]
        subprocess.run(["mount", "-o", "remount,size=64m", str(disk)], check=True)
        again = _pedgpt(tmp_path, "run", recipe, "--runs", "disk", *changes, "--until", "base")
        assert again.returncode == 0, again.stderr
        assert (disk / "x/base/manifest.json").is_file()
        assert all(f"] {name}" not in again.stdout for name in done)
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_below_the_floor_nothing_is_built_unless_the_recipe_says_that_less_will_do(tmp_path: Path) -> None:
    (tmp_path / "d.jsonl").write_text(
        '{"question": "孩子发烧三天怎么办", "answer": "多喝水，注意休息。"}\n', encoding="utf-8"
    )
    recipe = _recipe(tmp_path, kind="dataset", path="d.jsonl")
    floor = ("--set", "corpus.deidentify.floor_numbers=1.0")
    line = _refused(tmp_path, "run", recipe, "--until", "corpus/curated", *floor)
    assert "corpus.deidentify.floor_numbers: de-identification finds 0.9" in line
    assert not (tmp_path / "runs/x/corpus/curated").exists()
    assert _pedgpt(tmp_path, "run", recipe, "--until", "corpus/curated").returncode == 0
    books = _recipe(tmp_path)  # published documents alone: nobody is looked for
    assert _pedgpt(tmp_path, "run", books, "--until", "corpus/curated", *floor).returncode == 0
