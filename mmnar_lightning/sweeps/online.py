"""A sweep that W&B searches: created once, then worked on by as many agents as are started."""

import os
import subprocess
import sys
from pathlib import Path

from mmnar_lightning.config import ConfigError, ExperimentConfig
from mmnar_lightning.console import say
from mmnar_lightning.sweeps.workers import path_with_commands


def create(plain: dict[str, object], config: ExperimentConfig) -> tuple[str, str]:
    """Create the sweep.

    Returns:
        Its id, and `entity/project/id`, which agents are started with.
    """
    import wandb
    from wandb.sdk import wandb_setup

    identity = wandb.sweep(plain, entity=config.wandb.entity, project=config.wandb.project)
    entity = config.wandb.entity or wandb.Api().default_entity
    wandb_setup.teardown()
    return identity, f"{entity}/{config.wandb.project}/{identity}"


def start_agent(path: str) -> None:
    """Work on a sweep until it has no trial left.

    Raises:
        ConfigError: when the agent ends otherwise.
    """
    say(f"agent of {path}; more of them, here or elsewhere: wandb agent {path}")
    status = subprocess.run(
        [sys.executable, "-m", "wandb", "agent", "--forward-signals", path],
        env=os.environ | {"PATH": path_with_commands()},
        check=False,
    ).returncode
    if status:
        raise ConfigError(f"the agent of {path} ended with status {status}; the same command starts another")


def agent_path(folder: Path) -> Path:
    """File that remembers which sweep of W&B a folder belongs to."""
    return folder / "wandb.json"
