"""Put the torch that constraints.txt pins into this Python's environment: `.venv/bin/python tools/install_torch.py`.

The pin names a version, not a build: the same `torch==2.13.0` is a CPU wheel on one index and a CUDA build with
gigabytes of libraries on another. This takes what the index offers, and avoids the CUDA build only where it is useless.
In this order, with one line that says what was chosen:

1. an installed torch of the pinned version stays, whatever its build;
2. TORCH_INDEX_URL, where it is set, is the index;
3. what pip resolves with its own settings (PIP_INDEX_URL, pip.conf, …), where that is a CPU wheel;
4. with an NVIDIA GPU: what pip resolves;
5. without one: PyTorch's own CPU index, where it answers, else what pip resolves.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import threading
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote

CONSTRAINTS = Path(__file__).parents[1] / "constraints.txt"
CPU_INDEX = "https://download.pytorch.org/whl/cpu"
CUDA_DOWNLOAD = "about 2.7 GB"  # torch 2.13.0 (527 MB), the nvidia packages and triton, on PyPI in November 2026
CPU_WHEEL_MB = 350  # torch 2.13.0 for Linux: 192 MB for CPUs, 527 MB with CUDA, before its libraries

# pip says what it is about to fetch, before it does: "Downloading torch-2.13.0-….whl (526.6 MB)"
_FETCHING = re.compile(r"\s*(?:Downloading|Using cached|Processing) (\S*torch-\S+\.whl)(?: \(([\d.]+) (MB|kB)\))?\s*")


@dataclass(frozen=True)
class Wheel:
    """A torch wheel that an index offers; `megabytes` is None where the index does not say."""

    name: str
    megabytes: float | None

    @property
    def for_cpu(self) -> bool:
        """By its label where it has one (2.13.0+cpu), else by its size."""
        label = re.search(r"\+([a-z]+)", self.name)
        if label:
            return label[1] == "cpu"
        return self.megabytes is not None and self.megabytes < CPU_WHEEL_MB

    def __str__(self) -> str:
        return self.name if self.megabytes is None else f"{self.name}, {self.megabytes:.0f} MB"


class Choice(NamedTuple):
    """What pip is given, and the line for the person who waits."""

    options: list[str]
    reason: str


def pinned() -> str:
    """The version of torch in constraints.txt."""
    found = re.search(r"^torch==([^\s+;]+)", CONSTRAINTS.read_text(encoding="utf-8"), re.MULTILINE)
    if found is None:
        raise SystemExit(f"error: no line torch==… in {CONSTRAINTS}")
    return found[1]


def installed() -> str | None:
    """The installed torch with its label, or None."""
    try:
        return metadata.version("torch")
    except metadata.PackageNotFoundError:
        return None


def wheel_in(line: str) -> Wheel | None:
    """The torch wheel that a line of pip's output says it fetches; None for any other line."""
    found = _FETCHING.fullmatch(line)
    if found is None:
        return None
    place, number, unit = found.groups()
    size = float(number) / (1 if unit == "MB" else 1000) if number else None
    local = Path(unquote(place.removeprefix("file://")))
    if size is None and local.is_file():
        size = local.stat().st_size / 1e6
    return Wheel(local.name, size)


def offered(version: str, options: list[str], seconds: float) -> tuple[Wheel | None, str]:
    """What pip would install for this version, and pip's output. pip is stopped before it downloads the wheel."""
    dry_run = [sys.executable, "-m", "pip", "install", "--dry-run", "--no-deps", "--ignore-installed"]
    with tempfile.TemporaryDirectory() as work:  # what the stopped pip leaves behind goes with it
        pip = subprocess.Popen(
            [*dry_run, "--progress-bar", "off", *options, f"torch=={version}"],
            env={**os.environ, "PYTHONUNBUFFERED": "1", "PIP_QUIET": "0", "TMPDIR": work},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        limit = threading.Timer(seconds, pip.kill)
        limit.start()
        lines: list[str] = []
        wheel: Wheel | None = None
        assert pip.stdout is not None
        for line in pip.stdout:
            lines.append(line)
            wheel = wheel_in(line)
            if wheel is not None:
                break
        pip.kill()
        pip.wait()
        limit.cancel()
    return wheel, "".join(lines)


def has_gpu() -> bool:
    """Whether an NVIDIA driver is there."""
    if Path("/proc/driver/nvidia").exists():
        return True
    tool = shutil.which("nvidia-smi")
    return tool is not None and subprocess.run([tool, "-L"], capture_output=True, check=False).returncode == 0


def choose(version: str) -> Choice:
    """Which index torch comes from, and why."""
    override = os.environ.get("TORCH_INDEX_URL")
    if override:
        return Choice(["--index-url", override, "--no-deps"], "from the index in TORCH_INDEX_URL")
    if sys.platform != "linux":
        return Choice([], f"the build for {platform.system()} that pip resolves")
    wheel, output = offered(version, [], seconds=300)
    if wheel is None:
        python = f"Python {platform.python_version()} on {platform.machine()}"
        raise SystemExit(f"{output}error: pip finds no torch {version} for {python}; what it said is above")
    if wheel.for_cpu:
        more = "; for a CUDA build set TORCH_INDEX_URL" if has_gpu() else ""
        return Choice([], f"the CPU build that pip resolves ({wheel}){more}")
    if has_gpu():
        return Choice([], f"the CUDA build, for the NVIDIA GPU here ({wheel}; {CUDA_DOWNLOAD} with its libraries)")
    own, _ = offered(version, ["--index-url", CPU_INDEX, "--timeout", "5", "--retries", "0"], seconds=20)
    if own is not None and own.for_cpu:
        return Choice(
            ["--index-url", CPU_INDEX, "--no-deps"], f"the CPU build from {CPU_INDEX}, because there is no GPU ({own})"
        )
    return Choice(
        [],
        f"the CUDA build ({CUDA_DOWNLOAD} with its libraries), although there is no GPU: pip resolves no CPU build and "
        f"{CPU_INDEX} does not answer; an index with one can be named in TORCH_INDEX_URL",
    )


def main() -> None:
    """Choose, say it, install."""
    version = pinned()
    present = installed()
    if present is not None and present.split("+")[0] == version:
        print(f"torch {version}: {present} is installed and stays")
        return
    choice = choose(version)
    print(f"torch {version}: {choice.reason}", flush=True)
    install = [sys.executable, "-m", "pip", "install", "-c", str(CONSTRAINTS), *choice.options, f"torch=={version}"]
    raise SystemExit(subprocess.run(install, check=False).returncode)


if __name__ == "__main__":
    main()
