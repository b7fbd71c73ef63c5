"""Settings of a sweep."""

from dataclasses import dataclass


@dataclass(kw_only=True)
class SweepConfig:
    """Which sweep, and who searches."""

    file: str = ""
    """For sweep: a YAML file in W&B's sweep format."""
    offline: bool = False
    """Search with Optuna on this machine and send nothing, instead of asking W&B."""
    processes: int = 1
    """Trials that are trained at the same time; W&B starts one for each agent instead."""
    trials: int = 0
    """Most trials of a random or bayes sweep; 0 takes `run_cap` of the file."""

    def __post_init__(self) -> None:
        """Refuse no process at all, and a negative number of trials."""
        if self.processes < 1:
            raise ValueError(f"sweep.processes={self.processes} must be at least 1")
        if self.trials < 0:
            raise ValueError(f"sweep.trials={self.trials} must be at least 0 (0 = run_cap of the file)")
