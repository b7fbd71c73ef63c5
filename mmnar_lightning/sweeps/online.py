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
"""A part of the query by which W&B's own client looks at the runs of a sweep."""
SECONDS_TO_ASK = 10
"""An agent kills half a minute after it asked a trial to stop."""


def is_logged_in() -> bool:
    """Whether there is a key of W&B's: in the environment, its settings, or where `wandb login` leaves it."""
    import wandb
    from wandb.sdk import wandb_setup
    from wandb.sdk.lib import wbauth

    settings = wandb_setup.singleton().settings
    host = wandb.env.get_base_url(settings.base_url) or settings.base_url
    return bool(os.environ.get("WANDB_API_KEY") or settings.api_key or wbauth.read_netrc_auth(host=host))


def create(plain: Mapping[str, Any], config: ExperimentConfig) -> str:
    """Create the sweep by `wandb sweep`; returns `entity/project/id`, which agents are started with.

    Raises:
        ConfigError: with what W&B said, when it refuses.
    """
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "sweep.yaml"
        path.write_text(yaml.safe_dump(dict(plain), sort_keys=False), encoding="utf-8")
        told = subprocess.run(
            [*WANDB, "sweep", "--project", config.wandb.project, str(path)],
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
    agent = subprocess.Popen(
        [*WANDB, "agent", "--forward-signals", path], env=os.environ | {"PATH": path_with_commands()}
    )
    try:
        status = agent.wait()
    except signals.PreemptedError:
        agent.terminate()  # it hands the signal on to its trial, and waits
        agent.wait()
        raise
    if status:
        raise ConfigError(f"the agent of {path} ended with status {status}; the same command starts another")


def agent_path(folder: Path) -> Path:
    """File that remembers which sweep of W&B a folder belongs to."""
    return folder / "wandb.json"


def is_over(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether W&B wants the run of this process to end for good: somebody stopped it, or early termination did.

    The agent ends a trial by SIGTERM, which is also what comes before a preemption; the server knows which it is. A
    trial for which it cannot be asked counts as preempted, so that nothing is lost.
    """
    if signals.is_termination_requested():
        return True
    sweep, run = (environment.get(name) for name in ("WANDB_SWEEP_ID", "WANDB_RUN_ID"))
    if not sweep or not run:
        return False
    import wandb

    try:
        api = wandb.Api(timeout=SECONDS_TO_ASK)
        owner = {name: api.settings[name] for name in ("entity", "project")}
        found: Any = api._service_api.execute_graphql(FLAGS, {**owner, "sweep": sweep})
        runs = [edge["node"] for edge in found["project"]["sweep"]["runs"]["edges"]]
    except Exception as error:  # whatever fails between here and the server
        warn(f"W&B could not be asked whether it ended this trial ({error}); it counts as preempted")
        return False
    return any(node["name"] == run and (node["shouldStop"] or node["stopped"]) for node in runs)
