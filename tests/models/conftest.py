"""What tests of models share."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

Hub = Callable[[str, Path, str], None]


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hub:
    """Puts a folder into the hub's cache under an id and a commit; the last one is its main branch."""
    cache = tmp_path / "hub"
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(cache))
    monkeypatch.setattr("huggingface_hub.file_download.constants.HF_HUB_CACHE", str(cache))

    def put(name: str, folder: Path, commit: str) -> None:
        place = cache / f"models--{name.replace('/', '--')}"
        shutil.copytree(folder, place / "snapshots" / commit)
        (place / "refs").mkdir(exist_ok=True)
        (place / "refs/main").write_text(commit)

    return put
