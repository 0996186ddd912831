"""What all tests share: no network, small thread pools, caches of their own, and skips that cannot hide."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Generator
from functools import cache
from pathlib import Path

import pytest

from tests.fixtures import loaded, model_folder, tiny_model  # noqa: F401 (fixtures for all)

REPOSITORY = Path(__file__).parents[1]
SHARED = REPOSITORY.parent / "shared"

NO_SHARED = "needs ../shared, which is absent"
NO_GPU = "needs a GPU"
NO_ROOT = "needs root"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--no-skips",
        action="store_true",
        help="a skip is a failure, but for what truly cannot run here: no ../shared, no GPU, no root",
    )


def pytest_configure(config: pytest.Config) -> None:
    from hypothesis import settings

    # A busy machine is no bug, and a suite that is red once in a while tells nobody which change was wrong.
    settings.register_profile("repeatable", parent=settings(), deadline=None, derandomize=True)
    settings.load_profile("repeatable")
    if hasattr(config, "workerinput"):
        return  # a process of pytest-xdist has its parent's environment
    processes = config.getoption("numprocesses", None)
    os.environ.setdefault("OMP_NUM_THREADS", "1" if processes else "2")
    os.environ["HF_HUB_OFFLINE"] = os.environ["TRANSFORMERS_OFFLINE"] = "1"
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    cache = tempfile.mkdtemp(prefix="pediatricsgpt-tests-")
    os.environ["HF_DATASETS_CACHE"] = cache
    config.add_cleanup(lambda: shutil.rmtree(cache, ignore_errors=True))


def has_gpu() -> bool:
    """Whether an NVIDIA driver is there; asked without torch, which takes seconds to import."""
    return Path("/proc/driver/nvidia").exists()


@cache
def can_mount() -> bool:
    """Whether a file system can be mounted: by root, and not in a container that forbids it."""
    if os.geteuid() != 0 or shutil.which("mount") is None:
        return False
    with tempfile.TemporaryDirectory() as folder:
        mounted = subprocess.run(["mount", "-t", "tmpfs", "tmpfs", folder], capture_output=True, check=False)
        if mounted.returncode == 0:
            subprocess.run(["umount", folder], check=True)
    return mounted.returncode == 0


def excused(reason: str) -> bool:
    """Whether a test with this reason cannot run on this machine, whoever wrote it."""
    return (
        (reason.startswith("needs ../shared") and not SHARED.is_dir())
        or (reason.startswith(NO_GPU) and not has_gpu())
        or (reason.startswith(NO_ROOT) and not can_mount())
    )


def _refuse_skip(config: pytest.Config, report: pytest.TestReport | pytest.CollectReport) -> None:
    expected_failure = hasattr(report, "wasxfail")
    if not config.getoption("--no-skips") or not report.skipped or expected_failure:
        return
    reason = str(report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr)
    reason = reason.removeprefix("Skipped: ")
    if not excused(reason):
        report.outcome = "failed"
        report.longrepr = f"skipped, which --no-skips forbids: {reason}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    _refuse_skip(item.config, report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    _refuse_skip(collector.config, report)
    return report


@pytest.fixture(scope="session")
def repository() -> Path:
    """The checkout."""
    return REPOSITORY


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder beside the checkout with data that is too large or not ours to ship; skips where it is absent."""
    if not SHARED.is_dir():
        pytest.skip(NO_SHARED)
    return SHARED
