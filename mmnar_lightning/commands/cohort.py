"""`mmnar cohort`: builds a cohort and prints its counts."""

import time
from collections.abc import Sequence
from pathlib import Path

from data_modules import stage
from data_modules.cohorts.build import BUILD
from mmnar_lightning.config.experiment import ExperimentConfig
from mmnar_lightning.config.ignored import check_ignored
from mmnar_lightning.console import say, warn
from mmnar_lightning.distributed import signals
from mmnar_lightning.report.cohort import show_cohort
from mmnar_lightning.runs import cohorts


@signals.handled()
def make_cohort(config: ExperimentConfig) -> Path:
    """Build the cohort of an experiment and show its counts."""
    cohorts.print_simulated(config)
    started = time.monotonic()
    folder = cohorts.build(config)
    manifest = stage.verify(folder, BUILD)
    show_cohort(manifest, config.privacy.min_count)
    for line in manifest["dropped"]:
        warn(line)
    say(f"cohort: {folder} ({time.monotonic() - started:.1f} s)")
    return folder


def run(config: ExperimentConfig, words: Sequence[str]) -> int:
    """Run the command; returns the exit status."""
    for line in check_ignored(config):
        warn(line)
    make_cohort(config)
    return 0
