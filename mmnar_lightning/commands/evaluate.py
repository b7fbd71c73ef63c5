"""`mmnar evaluate`: scores the test split of a run, or of all runs of a protocol."""

from collections.abc import Sequence

from mmnar_lightning.config.experiment import ExperimentConfig
from mmnar_lightning.runs import protocols


def run(config: ExperimentConfig, words: Sequence[str]) -> int:
    """Run the command; returns the exit status."""
    protocols.evaluate(config)
    return 0
