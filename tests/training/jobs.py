"""Small phases for tests: rows, settings, and a kill at a chosen step."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from transformers import TrainerCallback

from pediatricsgpt.training import dfpo, phase
from pediatricsgpt.training.phase import Job
from pediatricsgpt.training.settings import DfpoSettings
from tests.rows import instruction, preference, text, write

DIALOGUES = [
    instruction("孩子发烧怎么办", "先量体温。", "三十九度", "请就诊。"),
    instruction("咳嗽", "多喝水。"),
    instruction("黄疸", "多数是生理性的，但要观察。"),
    instruction("腹泻两天", "口服补液盐，注意尿量。"),
    instruction("疫苗", "按程序接种。"),
] * 4
PAIRS = [
    preference("孩子发烧怎么办", "先量体温，精神差时请就诊。", "没事"),
    preference("咳嗽", "多喝水。", "吃三种药，再打针，然后观察一个星期看看再说吧"),
    preference("新生儿黄疸要紧吗", "多数是生理性的，但出生二十四小时内出现须立即就诊。", "晒太阳"),
    preference("腹泻", "口服补液盐。", "禁食两天"),
] * 3
TRAINER: dict[str, Any] = {
    "per_device_train_batch_size": 1,
    "learning_rate": 1.0e-3,
    "logging_steps": 1,
    "save_steps": 2,
    "max_steps": 6,
}


def job(folder: Path, model: Path, data: Path, watched: Mapping[str, Path] | None = None, name: str = "sft") -> Job:
    """A job in a folder that is made, where it is not there from before a kill."""
    folder.mkdir(exist_ok=True)
    return Job(name, model, data, folder, 1, Console(quiet=True), watched or {})


def held_out(folder: Path) -> dict[str, Path]:
    """Held-out rows of every contract: general texts, dialogues of an earlier phase, this phase's own pairs."""
    sets: dict[str, tuple[Any, list[dict[str, Any]]]] = {
        "general": ("cpt", [text("天空是蓝的，草是绿的。", "held_out"), text("北京是中国的首都。", "held_out")]),
        "sft": ("instruction", [instruction("新生儿呕吐", "请就诊。", split="held_out")]),
        "own": ("instruction", [instruction("湿疹", "保湿为主。", "要用激素吗", "遵医嘱。", split="held_out")]),
    }
    paths = {}
    for name, (contract, rows) in sets.items():
        (folder / name).mkdir()
        paths[name] = write(folder / name, contract, rows)
    return paths


def held_out_pairs(folder: Path) -> Path:
    """Preference pairs that no phase trains on."""
    rows = [preference("鼻塞", "可用生理盐水。", "不用管"), preference("便秘", "多吃蔬菜，多喝水。", "吃泻药")]
    (folder / "pairs").mkdir()
    return write(folder / "pairs", "preference", [{**row, "split": "held_out"} for row in rows])


def train_dfpo(job: Job, settings: DfpoSettings) -> dict[str, Any]:
    """DFPO with every setting of a phase."""
    return dfpo.train(job, settings)


class Killer(TrainerCallback):
    """Ends the process as Ctrl-C does: after a step, or at the very end of the training."""

    def __init__(self, step: int | None) -> None:
        self.step = step

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Fall at the step."""
        if state.global_step == self.step:
            raise KeyboardInterrupt

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Fall before the model is saved."""
        if self.step is None:
            raise KeyboardInterrupt

    def close(self) -> None:
        """It stands in the place of the progress bar, which is closed whatever happens."""


def killed(step: int | None, train: Callable[[], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Train until the kill."""
    with monkeypatch.context() as patch:
        patch.setattr(phase, "ProgressBar", lambda *_: Killer(step))
        with pytest.raises(KeyboardInterrupt):
            train()


def weights(folder: Path) -> bytes:
    """The weights that a phase wrote, as they lie on the disk."""
    return next(folder.glob("*model.safetensors")).read_bytes()
