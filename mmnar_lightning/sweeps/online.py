"""A sweep searched by W&B: created once, then run by any number of agents."""

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from mmnar_lightning.config.experiment import ConfigError, ExperimentConfig
from mmnar_lightning.console import say, warn
from mmnar_lightning.distributed import signals
from mmnar_lightning.sweeps.workers import path_with_commands

WANDB = (sys.executable, "-m", "wandb")
FLAGS = """
query StopRequests($entity: String, $project: String, $sweep: String!) {
  project(name: $project, entityName: $entity) {
    sweep(sweepName: $sweep) { runs { edges { node { name shouldStop stopped } } } }
  }
}
"""
"""Part of the query with which W&B's client reads the runs of a sweep."""
TIMEOUT_SECONDS = 10
"""Of the query; an agent kills a trial half a minute after asking it to stop."""


def is_logged_in() -> bool:
    """Whether a W&B API key exists: in the environment, the settings or the netrc file that `wandb login` writes."""
    import wandb
    from wandb.sdk import wandb_setup
    from wandb.sdk.lib import wbauth

    settings = wandb_setup.singleton().settings
    host = wandb.env.get_base_url(settings.base_url) or settings.base_url
    return bool(os.environ.get("WANDB_API_KEY") or settings.api_key or wbauth.read_netrc_auth(host=host))


def create(plain: Mapping[str, Any], config: ExperimentConfig) -> str:
    """Create the sweep with `wandb sweep`.

    Args:
        plain: content of the sweep file.
        config: entity and project of W&B.

    Returns:
        `entity/project/id`, the argument of `wandb agent`.

    Raises:
        ConfigError: with the output of W&B, if it fails.
    """
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "sweep.yaml"
        path.write_text(yaml.safe_dump(dict(plain), sort_keys=False), encoding="utf-8")
        process = subprocess.run(
            [*WANDB, "sweep", "--project", config.wandb.project, str(path)],
            env={name: value for name, value in os.environ.items() if name != "WANDB_SILENT"},
            capture_output=True,
            text=True,
            check=False,
        )
    output = process.stdout + process.stderr
    found = re.search(r"wandb agent (\S+/\S+)", output)
    if process.returncode or found is None:
        raise ConfigError(f"wandb sweep created no sweep (status {process.returncode}): {' '.join(output.split())}")
    return found[1]


def start_agent(path: str) -> None:
    """Run an agent until the sweep has no trial left.

    Args:
        path: `entity/project/id`.

    Raises:
        ConfigError: if the agent fails.
        PreemptedError: on a stop request, after the agent has stopped.
    """
    say(f"agent of {path}; start more, here or on other machines: wandb agent --forward-signals {path}")
    agent = subprocess.Popen(
        [*WANDB, "agent", "--forward-signals", path], env=os.environ | {"PATH": path_with_commands()}
    )
    try:
        status = agent.wait()
    except signals.PreemptedError:
        agent.terminate()  # it forwards the signal to its trial and waits
        agent.wait()
        raise
    if status:
        raise ConfigError(f"the agent of {path} exited with status {status}; run the same command to start another")


def agent_path(folder: Path) -> Path:
    """File that stores the W&B sweep of a folder."""
    return folder / "wandb.json"


def is_over(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether W&B has ended the run of this process for good, by a user or by early termination.

    The agent ends a trial with SIGTERM, which also precedes a preemption; the server knows which it is. If the query
    fails, the trial counts as preempted, so that no work is lost.

    Args:
        environment: variables, with the sweep and run of W&B.

    Returns:
        True for a trial that must not be resumed.
    """
    if signals.is_termination_requested():
        return True
    sweep, run = (environment.get(name) for name in ("WANDB_SWEEP_ID", "WANDB_RUN_ID"))
    if not sweep or not run:
        return False
    import wandb

    try:
        api = wandb.Api(timeout=TIMEOUT_SECONDS)
        owner = {name: api.settings[name] for name in ("entity", "project")}
        found: Any = api._service_api.execute_graphql(FLAGS, {**owner, "sweep": sweep})
        runs = [edge["node"] for edge in found["project"]["sweep"]["runs"]["edges"]]
    except Exception as error:  # any failure of network, server or client
        warn(f"the query whether W&B ended this trial failed ({error}); it counts as preempted")
        return False
    return any(node["name"] == run and (node["shouldStop"] or node["stopped"]) for node in runs)
