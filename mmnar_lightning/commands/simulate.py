"""`mmnar simulate`: writes a simulated release."""

from collections.abc import Sequence
from pathlib import Path

from data_modules.cores import usable_cores
from data_modules.simulate.release import simulate
from mmnar_lightning.config.experiment import ConfigError, ExperimentConfig
from mmnar_lightning.console import progress, say
from mmnar_lightning.distributed import signals


@signals.handled()
def make_release(config: ExperimentConfig) -> Path:
    """Write a simulated release into the folder that `out` names.

    Returns:
        The folder.

    Raises:
        ConfigError: if `out` is empty.
    """
    if not config.out:
        raise ConfigError("simulate needs OUT=/path (or out=), the folder to write the release into")
    target = Path(config.out)
    with progress("simulating subjects", config.simulate.subjects) as advance:
        written = simulate(config.simulate, target, processes=usable_cores(), advance=advance)
    say(f"{target} {'holds' if written else 'already held'} {config.simulate.subjects} simulated subjects")
    return target


def run(config: ExperimentConfig, words: Sequence[str]) -> int:
    """Run the command; returns the exit status."""
    make_release(config)
    return 0
