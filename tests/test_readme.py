"""Every command of the README, run as a newcomer would; the demo among them."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from pediatricsgpt.manifest import read_manifest

REPOSITORY = Path(__file__).parents[1]
README = REPOSITORY / "README.md"
CHINESE = REPOSITORY / "README.zh.md"


def _commands(path: Path) -> list[str]:
    """The commands of a README's shell blocks, without their comments."""
    blocks = re.findall(r"```bash\n(.*?)```", path.read_text(encoding="utf-8"), re.DOTALL)
    lines = (line.split("#")[0].strip() for block in blocks for line in block.splitlines())
    return [re.sub(r"\s+", " ", line) for line in lines if line]


def _pedgpt_lines(path: Path) -> list[list[str]]:
    words = [shlex.split(command) for command in _commands(path)]
    return [line for line in words if line[0] == "pedgpt"]


def _run(folder: Path, arguments: list[str]) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "pediatricsgpt.cli", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        input="孩子发烧怎么办？\n/quit\n",
    )
    assert done.returncode == 0, f"pedgpt {shlex.join(arguments)}\n{done.stdout}{done.stderr}"
    return done.stdout


def test_both_readmes_give_the_same_commands() -> None:
    assert _commands(README) == _commands(CHINESE)
    assert len(_pedgpt_lines(README)) >= 8


def test_the_two_commands_of_the_readme_are_targets_that_run_what_they_say() -> None:
    makes = [command for command in _commands(README) if command.startswith("make")]
    assert makes == ["make demo", "make test"]
    shown = subprocess.run(["make", "-n", "demo"], cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout
    assert "pedgpt run recipes/demo.yaml" in shown


def test_what_the_readme_links_to_is_there() -> None:
    for path in (README, CHINESE):
        links = re.findall(r"\]\(([^)#:]+)\)", path.read_text(encoding="utf-8"))
        assert links
        assert [link for link in links if not (REPOSITORY / link).exists()] == []


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the demo run in it."""
    folder = tmp_path_factory.mktemp("demo")
    for name in ("recipes", "examples"):
        (folder / name).symlink_to(REPOSITORY / name)
    said = _run(folder, ["run", "recipes/demo.yaml"])
    for part in ("question", "base", "cpt", "sft", "dfpo", "experts", "report: runs/demo/report.html"):
        assert part in said
    return folder


@pytest.mark.check
def test_the_demo_learns_and_stays_within_its_memory(demo: Path) -> None:
    run = demo / "runs/demo"
    manifests = [read_manifest(path.parent) for path in run.rglob("manifest.json")]
    assert len(manifests) == 35
    assert max(entry.peak_memory_mb for entry in manifests if entry) < 6 * 1024
    means = {
        model: yaml.safe_load((run / f"evaluation/{model}/held_out_loss.json").read_text())["mean"]
        for model in ("base", "cpt", "sft", "dfpo", "experts")
    }
    assert all(means[model] < means["base"] - 1 for model in means if model != "base")
    assert max(means["sft"], means["dfpo"], means["experts"]) < means["cpt"]


@pytest.mark.check
@pytest.mark.parametrize("line", [line for line in _pedgpt_lines(README) if "my.yaml" not in line], ids=" ".join)
def test_commands_on_the_demo_run(demo: Path, line: list[str]) -> None:
    arguments = line[1:]
    if arguments[0] == "score":
        arguments = ["score", "runs/demo/evaluation/sft/predictions.jsonl"]
    assert _run(demo, arguments)


@pytest.mark.check
def test_own_sources_and_own_base_as_the_readme_says(demo: Path) -> None:
    recipe = yaml.safe_load((demo / "recipes/demo.yaml").read_text(encoding="utf-8"))
    block = next(text for text in re.findall(r"```yaml\n(.*?)```", README.read_text(), re.DOTALL) if "sources" in text)
    own = yaml.safe_load("\n".join(line.removeprefix("   ") for line in block.splitlines()))
    own["corpus"]["sources"][0]["path"] = str(REPOSITORY / "examples/guidelines")
    for source in recipe["corpus"]["sources"][1:]:
        own["corpus"]["sources"].append(source | {"path": str(REPOSITORY / "recipes" / source["path"])})
    recipe["corpus"]["sources"] = own["corpus"]["sources"]
    recipe["name"] = "my"
    recipe["model"] = {"base": str(demo / "runs/demo/dfpo")}
    for phase in ("cpt", "sft", "dfpo", "experts"):
        recipe[phase]["trainer"] = {"max_steps": 2, "per_device_train_batch_size": 1}
    recipe["corpus"]["build"]["preferences"]["medical_pairs"] = 4
    cmd = {"name": "cmd", "path": str(REPOSITORY / "examples/benchmarks/cmd.json")}
    recipe["evaluation"] |= {"max_items": 2, "max_loss_rows": 8, "max_new_tokens": 8, "models": []}
    recipe["evaluation"] |= {"benchmarks": ["medkqa", "evidiag", "trerecom", cmd], "consultations": {"max_cards": 1}}
    (demo / "my.yaml").write_text(yaml.safe_dump(recipe, allow_unicode=True), encoding="utf-8")
    for line in _pedgpt_lines(README):
        if "my.yaml" in line:
            _run(demo, line[1:])
    assert (demo / "runs/my/report.html").is_file()
    assert not list((demo / "runs/my/base").glob("*.safetensors"))
