"""Which build of torch is taken: the index's choice, but no CUDA build where there is no GPU and a way around it."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

CPU = "torch-2.13.0+cpu-cp311-cp311-manylinux_2_28_x86_64.whl"
CUDA = "torch-2.13.0-cp311-cp311-manylinux_2_28_x86_64.whl"


@pytest.fixture(scope="module")
def tool(repository: Path) -> ModuleType:
    """tools/install_torch.py as a module."""
    spec = importlib.util.spec_from_file_location("install_torch", repository / "tools/install_torch.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["install_torch"] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("line", "name", "megabytes", "for_cpu"),
    [
        (f"  Downloading {CUDA} (526.6 MB)\n", CUDA, 526.6, False),
        (f"  Using cached {CUDA} (526.6 MB)\n", CUDA, 526.6, False),
        ("Downloading https://download.pytorch.org/whl/cpu/torch-2.13.0%2Bcpu-cp311.whl (191.8 MB)", None, 191.8, True),
        ("  Downloading torch-2.13.0-cp312-cp312-macosx_14_0_arm64.whl (79.4 MB)\n", None, 79.4, True),
        ("  Downloading torch-2.13.0+cu130-cp312.whl (900 kB)\n", None, 0.9, False),
        (f"Processing /wheels/{CPU}\n", CPU, None, True),
        ("  Downloading torch-2.13.0-cp311.whl\n", None, None, False),
    ],
)
def test_pip_says_what_it_would_fetch(
    tool: ModuleType, line: str, name: str | None, megabytes: float | None, for_cpu: bool
) -> None:
    wheel = tool.wheel_in(line)
    assert wheel.megabytes == megabytes
    assert wheel.for_cpu is for_cpu
    assert name is None or wheel.name == name


@pytest.mark.parametrize(
    "line",
    [
        "Collecting torch==2.13.0",
        "  Downloading torch-2.13.0-cp311.whl.metadata (29 kB)",
        "  Downloading pytorch_lightning-2.5.whl (1.0 MB)",
        "Looking in links: /wheels",
    ],
)
def test_other_lines_of_pip_name_no_wheel(tool: ModuleType, line: str) -> None:
    assert tool.wheel_in(line) is None


@pytest.mark.parametrize(
    ("index_offers", "gpu", "cpu_index_offers", "options", "words"),
    [
        (CPU, False, None, [], "the CPU build that pip resolves"),
        (CPU, True, None, [], "for a CUDA build set TORCH_INDEX_URL"),
        (CUDA, True, CPU, [], "for the NVIDIA GPU here"),
        (CUDA, False, CPU, ["--index-url", "https://download.pytorch.org/whl/cpu", "--no-deps"], "there is no GPU"),
        (CUDA, False, None, [], "about 2.7 GB"),
    ],
)
def test_the_index_decides_but_for_a_cuda_build_without_a_gpu(
    tool: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    index_offers: str,
    gpu: bool,
    cpu_index_offers: str | None,
    options: list[str],
    words: str,
) -> None:
    def offered(version: str, asked: list[str], seconds: float) -> tuple[object, str]:
        name = cpu_index_offers if asked else index_offers
        return (tool.Wheel(name, 500.0) if name else None), ""

    monkeypatch.delenv("TORCH_INDEX_URL", raising=False)
    monkeypatch.setattr(tool, "offered", offered)
    monkeypatch.setattr(tool, "has_gpu", lambda: gpu)
    choice = tool.choose("2.13.0")
    assert choice.options == options
    assert words in choice.reason


def test_an_index_without_the_pinned_torch_is_an_error_with_pips_own_words(
    tool: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TORCH_INDEX_URL", raising=False)
    monkeypatch.setattr(tool, "offered", lambda *_, **__: (None, "ERROR: No matching distribution\n"))
    with pytest.raises(SystemExit, match=r"No matching distribution\nerror: pip finds no torch"):
        tool.choose("2.13.0")


def test_another_index_can_be_named(tool: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_INDEX_URL", "https://example.org/simple")
    assert tool.choose("2.13.0").options == ["--index-url", "https://example.org/simple", "--no-deps"]


def test_the_installed_torch_of_the_pinned_version_stays(
    tool: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tool, "installed", lambda: f"{tool.pinned()}+cu130")
    tool.main()
    assert capsys.readouterr().out == f"torch {tool.pinned()}: {tool.pinned()}+cu130 is installed and stays\n"
