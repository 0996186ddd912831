"""What this machine can do: versions, processors, memory, and which extras are installed."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import sys
from pathlib import Path
from typing import Any

from pediatricsgpt.manifest import versions

_EXTRAS = {
    "train": ("torch", "transformers", "trl", "peft", "accelerate", "datasets"),
    "documents": ("pypdfium2", "markitdown"),
}


def describe(folder: Path) -> dict[str, Any]:
    """Facts about this machine as plain values; `folder` decides whose disk is looked at."""
    return {
        "python": sys.version.split()[0],
        "system": platform.platform(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "disk_free_gib": round(shutil.disk_usage(folder).free / 2**30, 1),
        "versions": versions(),
        "extras": {name: _missing(modules) or "installed" for name, modules in _EXTRAS.items()},
        "torch": _torch(),
    }


def _missing(modules: tuple[str, ...]) -> str:
    absent = [name for name in modules if importlib.util.find_spec(name) is None]
    return f"missing: {', '.join(absent)}" if absent else ""


def _torch() -> dict[str, Any]:
    if importlib.util.find_spec("torch") is None:
        return {"build": "not installed"}
    import torch

    gpus = [
        f"{torch.cuda.get_device_name(index)}, {torch.cuda.get_device_properties(index).total_memory / 2**30:.0f} GiB"
        for index in range(torch.cuda.device_count())
    ]
    return {
        "build": f"CUDA {torch.version.cuda}" if torch.version.cuda else "CPU",
        "threads": torch.get_num_threads(),
        "gpus": gpus or "none",
        "bf16": torch.cuda.is_bf16_supported() if gpus else "on the CPU: slow unless it has AMX or AVX512-BF16",
    }
