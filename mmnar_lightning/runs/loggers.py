"""The loggers of a run: CSV files, and W&B, whose faults never cost a run."""

import os
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import CSVLogger, Logger

from mmnar_lightning.config.compose import loggable
from mmnar_lightning.config.experiment import ExperimentConfig
from mmnar_lightning.console import warn
from mmnar_lightning.distributed import signals
from mmnar_lightning.runs.charts import ChartLogger
from mmnar_lightning.runs.folders import CHILDREN, run_id
from mmnar_lightning.runs.named import build_named, refuse_unknown
from mmnar_lightning.runs.run import Run
from mmnar_lightning.runs.wandb_run import define_metrics

INIT_SECONDS = 30.0
"""Seconds that W&B's server has to answer before a run goes on without it."""
CACHE, DATA = "WANDB_CACHE_DIR", "WANDB_DATA_DIR"
"""Variables with the folders of W&B's cache and logs and of its artifacts, by default in HOME."""
_set_here: list[str] = []
"""Values of these that earlier runs of this process set."""


def build_loggers(run: Run, part: int, known_id: str | None = None) -> list[Logger]:
    """Build the CSV and W&B loggers, and those that the user names.

    W&B is offline unless WANDB_API_KEY is set or its agent started this trial.

    Where W&B cannot be started, the run is logged offline, or by the CSV logger alone, and a line says so. A trial of
    an online sweep fails instead: the sweep would wait for its metric.

    Args:
        run: to log.
        part: number of earlier starts of the run; each start writes its own CSV file.
        known_id: of a resumed run, from its checkpoint.

    Returns:
        The loggers.
    """
    named = build_named("loggers", run.config.loggers, save_dir=str(run.folder))
    loggers: list[Logger] = [CSVLogger(run.folder, name="logs", version=str(part)), *named]
    if not run.config.wandb.enabled:
        return loggers
    in_sweep = bool(os.environ.get("WANDB_SWEEP_ID"))
    if in_sweep:
        return [*loggers, _wandb_logger(run.config, run.folder, known_id, offline=False)]
    _use_own_folders(run.folder.absolute() / "wandb")
    logger = _started(run.config, run.folder, known_id, offline=not os.environ.get("WANDB_API_KEY"))
    return [*loggers, logger] if logger else loggers


def _use_own_folders(place: Path) -> None:
    """Let W&B write into the run; its artifacts only if HOME is read only, because their path is uploaded."""
    for variable, name in {CACHE: "cache", DATA: "artifacts"}.items():
        if os.environ.get(variable) in {None, *_set_here} and (variable == CACHE or not _is_home_writable()):
            os.environ[variable] = str(place / name)
            _set_here.append(str(place / name))


def _is_home_writable() -> bool:
    return os.access(Path.home(), os.W_OK | os.X_OK)


def _started(config: ExperimentConfig, folder: Path, known_id: str | None, *, offline: bool) -> Logger | None:
    """Start W&B, offline if its server does not answer; None if it cannot be started at all."""
    import wandb

    logger = _wandb_logger(config, folder, known_id, offline=offline)
    try:
        define_metrics(logger.experiment)
    except (wandb.errors.Error, OSError, RuntimeError, ValueError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        wandb.teardown()  # its service keeps the id of the run that it could not start
        if offline:
            warn(f"W&B cannot be started ({reason}); the run is logged in logs/ and metrics.csv alone")
            return None
        warn(f"W&B does not accept this run ({reason}); it is logged offline, and `wandb sync` uploads it later")
        return _started(config, folder, known_id, offline=True)
    return logger


def _place(config: ExperimentConfig, folder: Path) -> dict[str, str]:
    """Group and type of a run: those of a protocol are a group of their own, with the run that gathers them."""
    is_child, is_parent = ((own / CHILDREN).is_file() for own in (folder.parent, folder))
    if is_child or is_parent:
        parent = folder if is_parent else folder.parent
        return {"group": f"{config.experiment}/{parent.name}", "job_type": "protocol" if is_parent else "run"}
    if os.environ.get("WANDB_SWEEP_ID"):
        return {"group": config.experiment, "job_type": "trial"}
    return {"group": config.experiment, "job_type": "train" if config.baseline.name == "none" else "baseline"}


def start_parent(config: ExperimentConfig, folder: Path) -> bool:
    """Start the W&B run of a protocol's parent, in the group of its runs; False if W&B is off or cannot be started."""
    if not config.wandb.enabled or os.environ.get("WANDB_SWEEP_ID"):
        return False
    _use_own_folders(folder.absolute() / "wandb")
    return _started(config, folder, None, offline=not os.environ.get("WANDB_API_KEY")) is not None


def _wandb_logger(config: ExperimentConfig, folder: Path, known_id: str | None, *, offline: bool) -> ChartLogger:
    """Build the logger of W&B, which starts when it is first used.

    W&B reads WANDB_ENTITY itself; the tags passed here would replace those of WANDB_TAGS, so both are passed.

    Returns:
        The logger.
    """
    import wandb

    given = dict(config.wandb.init)
    refuse_unknown("wandb.init", given, wandb.init, "wandb.init")
    own_tags = [config.dataset, *(["simulated"] if config.simulated else [])]
    shown: dict[str, Any] = {"name": f"{config.experiment}/{known_id or run_id(folder)}", **_place(config, folder)}
    logger = ChartLogger(
        id=known_id or run_id(folder),
        project=config.wandb.project,
        tags=[*wandb.env.get_tags(), *given.pop("tags", []), *own_tags],
        **shown | given,
        save_dir=folder.absolute(),  # the client writes from a process with another working directory
        offline=offline,  # sets WANDB_MODE, which a client that was started before does not read again
        mode="offline" if offline else None,
        config=loggable(config),
        settings=wandb.Settings(
            console="off",
            silent=True,
            disable_git=True,
            init_timeout=INIT_SECONDS,
            x_disable_meta=True,
            stop_fn=signals.request_termination,
        ),
    )
    # Lightning 2.6 passes a setting that wandb removed, which prints a warning at every start.
    logger._wandb_init.pop("anonymous", None)
    return logger
