"""A sweep that W&B searches: created once, then worked on by as many agents as are started."""

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]  # its types are a package that nothing else needs

from mmnar_lightning.config import ConfigError, ExperimentConfig
from mmnar_lightning.console import say
from mmnar_lightning.sweeps.workers import path_with_commands

WANDB = (sys.executable, "-m", "wandb")


def create(plain: Mapping[str, Any], config: ExperimentConfig) -> str:
    """Create the sweep by `wandb sweep`; returns `entity/project/id`, which agents are started with.

    Raises:
        ConfigError: with what W&B said, when it refuses.
    """
    owner = ["--entity", config.wandb.entity] if config.wandb.entity else []
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "sweep.yaml"
        path.write_text(yaml.safe_dump(dict(plain), sort_keys=False), encoding="utf-8")
        told = subprocess.run(
            [*WANDB, "sweep", "--project", config.wandb.project, *owner, str(path)],
            env={name: value for name, value in os.environ.items() if name != "WANDB_SILENT"},
            capture_output=True,
            text=True,
            check=False,
        )
    said = told.stdout + told.stderr
    found = re.search(r"wandb agent (\S+/\S+)", said)
    if told.returncode or found is None:
        raise ConfigError(f"wandb sweep created no sweep (status {told.returncode}): {' '.join(said.split())}")
    return found[1]


def start_agent(path: str) -> None:
    """Work on a sweep until it has no trial left.

    Raises:
        ConfigError: when the agent ends otherwise.
    """
    say(f"agent of {path}; more of them, here or elsewhere: wandb agent --forward-signals {path}")
    status = subprocess.run(
        [*WANDB, "agent", "--forward-signals", path],
        env=os.environ | {"PATH": path_with_commands()},
        check=False,
    ).returncode
    if status:
        raise ConfigError(f"the agent of {path} ended with status {status}; the same command starts another")


def agent_path(folder: Path) -> Path:
    """File that remembers which sweep of W&B a folder belongs to."""
    return folder / "wandb.json"
