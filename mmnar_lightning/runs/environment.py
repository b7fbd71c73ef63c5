"""What a run was computed with: commit, packages and hardware; nothing that names a user, a machine or a folder."""

import os
import platform
import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from data_modules.cores import usable_cores

PACKAGES = (
    "mmnar-lightning",
    "torch",
    "lightning",
    "torchmetrics",
    "numpy",
    "polars",
    "scikit-learn",
    "scipy",
    "wandb",
)
CPUINFO, MEMINFO = Path("/proc/cpuinfo"), Path("/proc/meminfo")


@cache
def describe() -> dict[str, Any]:
    """Describe the program, its packages and the hardware.

    Returns:
        `commit` and `dirty` of a checkout, both None for an installed package; `python`, `packages`; `processor`,
        `cores` that this process may use, `memory_gb`, and `gpus`, the names of those that CUDA sees.
    """
    gpus = [torch.cuda.get_device_name(place) for place in range(torch.cuda.device_count())]
    return {
        **_checkout(Path(__file__).resolve().parents[2]),
        "python": platform.python_version(),
        "packages": {name: found for name in PACKAGES if (found := _version(name))},
        "processor": _first(CPUINFO, "model name") or platform.machine(),
        "cores": usable_cores(),
        "memory_gb": _gigabytes(_first(MEMINFO, "MemTotal")),
        "gpus": gpus,
    }


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _checkout(folder: Path) -> dict[str, Any]:
    """Commit of the program's own checkout, and whether files of it were changed."""
    if not (folder / ".git").exists():
        return {"commit": None, "dirty": None}
    commit, changed = _git(folder, "rev-parse", "HEAD"), _git(folder, "status", "--porcelain", "--untracked-files=no")
    return {"commit": commit or None, "dirty": None if changed is None else bool(changed)}


def _git(folder: Path, *words: str) -> str | None:
    """The output of git; None where it is not installed or refuses the folder."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    try:
        done = subprocess.run(["git", "-C", str(folder), *words], capture_output=True, text=True, check=True, env=own)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def _first(path: Path, key: str) -> str:
    """The first value of a key in a file of /proc; empty if there is none."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    return next((line.partition(":")[2].strip() for line in lines if line.partition(":")[0].strip() == key), "")


def _gigabytes(text: str) -> int | None:
    kilobytes = text.removesuffix(" kB")
    return round(int(kilobytes) / 2**20) if kilobytes.isdigit() else None
