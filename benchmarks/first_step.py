"""From the command `pedgpt train sft RECIPE` to the end of the first optimiser step, and what that time is made of.

    OMP_NUM_THREADS=2 python benchmarks/first_step.py [--repeat 3] [--rows 16] [--folder FOLDER] [--quick]

The recipe is `recipes/demo.yaml` (Chinese sources of `examples/`) with a model of about 0.04B parameters in its
`model.init`. What comes before is made outside the clock: the corpus, the base, and CPT of one step. The clock runs
from the start of a fresh process until the line of the first step stands on its output, all of the command's own
doings included: checking what is up to date, the held-out losses before training (`--rows` of each set), the step.
The files are in the system's cache. The mark is at most 12 s in the median.

One more start, which is not in the median, says what the time is made of: a second thread looks every 5 ms where the
first one is.
"""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from types import FrameType
from typing import Any

RECIPE = Path(__file__).parents[1] / "recipes/demo.yaml"
PEDGPT = [str(Path(sys.executable).with_name("pedgpt"))]
NAME = "first-step"
MARK = 12.0
FIRST = "sft: step 1/"
SIZES = {"hidden_size": 512, "intermediate_size": 1536, "num_hidden_layers": 12, "num_attention_heads": 8}
CHANGES = {
    **{f"model.init.{name}": size for name, size in SIZES.items()},
    "corpus.build.cpt.instruction_share": 0.0,  # a small CPT set: it is trained on for one step only
    "cpt.trainer.max_steps": 1,
    "cpt.gate.rows": 1,
    "sft.trainer.max_steps": 10,
    "sft.trainer.logging_steps": 1,
}
EVERY = 0.005
IMPORT = ("importlib._bootstrap", "_find_and_load")
PARTS = {
    ("pediatricsgpt.training.gate", "_measure"): "held-out losses",
    ("pediatricsgpt.training.held_out", "held_sets"): "tokenising",
    ("pediatricsgpt.training.data", "dialogue_set"): "tokenising",
    ("pediatricsgpt.models.load", "load"): "loading",
    ("pediatricsgpt.training.trainer", "__init__"): "preparing the trainer",
    ("transformers.trainer", "train"): "first step",
    ("pediatricsgpt.run", "execute"): "what is up to date",
    ("pediatricsgpt.cli.common", "open_run"): "recipe",
}
"""Functions by which a moment is told; the innermost on the stack counts, but imports before all"""


def command(name: str, folder: Path, rows: int) -> list[str]:
    """The arguments of `pedgpt` for one phase."""
    changes = {**CHANGES, "sft.gate.rows": rows}
    given = [word for key, value in changes.items() for word in ("--set", f"{key}={value}")]
    return ["train", name, str(RECIPE), "--runs", str(folder), "--name", NAME, *given]


def start(words: Sequence[str], folder: Path, end: signal.Signals = signal.SIGKILL) -> tuple[float, float]:
    """Run a command until its first step, then end it so: when it began, and when the step was done.

    Raises:
        SystemExit: it ended before that; with what it said.
    """
    shutil.rmtree(folder / NAME / "sft.partial", ignore_errors=True)
    log = folder / "stderr.txt"
    with log.open("w", encoding="utf-8") as errors:
        begun = time.monotonic()
        with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=errors, text=True) as process:
            assert process.stdout is not None
            said = []
            for line in process.stdout:
                said.append(line)
                if FIRST in line:
                    done = time.monotonic()
                    process.send_signal(end)
                    process.stdout.read()
                    return begun, done
    raise SystemExit(f"no first step:\n{''.join(said)}{log.read_text(encoding='utf-8')}")


def prepare(folder: Path, rows: int) -> None:
    """The corpus, the base and the phase before."""
    begun = time.monotonic()
    done = subprocess.run([*PEDGPT, *command("cpt", folder, rows)], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stdout + done.stderr)
    base = json.loads((folder / NAME / "base/manifest.json").read_text(encoding="utf-8"))
    size, taken = base["counts"]["parameters"] / 1e9, time.monotonic() - begun
    print(f"{size:.3f}B parameters; corpus, base and one step of CPT in {taken:.0f} s, outside the clock")


def parts(folder: Path, rows: int) -> None:
    """Print what one more start is made of."""
    samples = folder / "samples.json"
    words = [sys.executable, __file__, "--sampled", str(samples), *command("sft", folder, rows)]
    begun, done = start(words, folder, signal.SIGINT)
    found, packages, last = Counter[str](), Counter[str](), begun
    for moment, part, package in json.loads(samples.read_text(encoding="utf-8")):
        if moment > done:
            break
        part = "starting Python" if last == begun else part
        found[part] += moment - last
        packages[package] += (moment - last) * (part == "imports")
        last = moment
    print(f"\none more start, looked at: {done - begun:.1f} s")
    for part, taken in found.most_common():
        print(f"  {part:22} {taken:6.2f} s")
    listed = ", ".join(f"{name} {taken:.2f}" for name, taken in packages.most_common(12) if taken > EVERY)
    print(f"  imports by the package whose code ran: {listed}")


def sampled(out: Path, words: Sequence[str]) -> None:
    """Be `pedgpt` with these arguments, and write down where it is while it runs."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where the benchmark runs in the background
    samples: list[tuple[float, str, str]] = []
    main_thread, over = threading.get_ident(), threading.Event()

    def look() -> None:
        while not over.wait(EVERY):
            samples.append((time.monotonic(), *place(sys._current_frames()[main_thread])))

    watcher = threading.Thread(target=look, daemon=True)
    watcher.start()
    try:
        sys.argv = [PEDGPT[0], *words]
        from pediatricsgpt.cli import main as pedgpt

        pedgpt()
    finally:
        over.set()
        watcher.join()
        out.write_text(json.dumps(samples), encoding="utf-8")


def place(frame: FrameType | None) -> tuple[str, str]:
    """The part that a moment belongs to, and the package whose code runs."""
    part, package, imports = "", "", False
    while frame is not None:
        module = str(frame.f_globals.get("__name__"))
        here = (module, frame.f_code.co_name)
        imports = imports or here == IMPORT
        part = part or PARTS.get(here, "")
        top = module.partition(".")[0]
        if not package and top not in sys.stdlib_module_names and top != "__main__":
            package = top
        frame = frame.f_back
    return "imports" if imports else part or "rest", package


def main() -> None:
    """Print the median, the parts and the mark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--rows", type=int, default=16, help="held-out rows of each set, measured before it")
    parser.add_argument("--folder", type=Path, help="keep what is prepared here, and use it again")
    parser.add_argument("--quick", action="store_true", help="once")
    options: Any = parser.parse_args()
    with TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        prepare(folder, options.rows)
        taken = []
        for _ in range(1 if options.quick else options.repeat):
            begun, done = start([*PEDGPT, *command("sft", folder, options.rows)], folder)
            taken.append(done - begun)
        middle = median(taken)
        print(f"pedgpt train sft RECIPE to its first step: {middle:.1f} s, median of {len(taken)}", end="")
        print(f" ({min(taken):.1f} to {max(taken):.1f}); mark {MARK:g} s: {'met' if middle <= MARK else 'MISSED'}")
        parts(folder, options.rows)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--sampled"]:
        sampled(Path(sys.argv[2]), sys.argv[3:])
    else:
        main()
