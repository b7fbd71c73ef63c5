"""`mmnar trial`: one trial of a sweep, started by the sweep's file."""

from collections.abc import Sequence

from mmnar_lightning.config.experiment import ExperimentConfig
from mmnar_lightning.sweeps.trial import trial


def run(config: ExperimentConfig, words: Sequence[str]) -> int:
    """Run the command; returns the exit status."""
    trial(config)
    return 0
