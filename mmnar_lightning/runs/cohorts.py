"""Builds the cohort of a configuration, from its release or a custom folder; it loads no torch."""

from dataclasses import replace
from pathlib import Path

from data_modules.cohorts.build import build_cohort, check_modalities
from data_modules.cohorts.config import CustomCohortConfig, ReleaseCohortConfig
from data_modules.cohorts.custom import build_custom
from data_modules.cohorts.fitting import Words
from data_modules.cohorts.icd_blocks import is_phenotype
from data_modules.cores import usable_cores
from data_modules.databases.meds.config import MEDSCohortConfig
from data_modules.databases.meds.spec import build_meds
from data_modules.databases.registry import MEDS, database
from data_modules.raw.checksums import Meter, no_meter
from data_modules.raw.reader import Release
from mmnar_lightning.config.experiment import SIMULATED, ConfigError, ExperimentConfig, PathsConfig
from mmnar_lightning.console import progress, warn

NO_RELEASE = (
    "simulated data: no release was named, so subjects are drawn from the causal model of docs/simulation.md; "
    "set MIMIC_ROOT or EICU_ROOT for real data"
)


def build(config: ExperimentConfig) -> Path:
    """Build the cohort unless it exists; a missing paths.cohort raises a `ConfigError`.

    Returns:
        Its folder.
    """
    data = Path(config.paths.data)
    if isinstance(config.cohort, CustomCohortConfig):
        return build_custom(custom_source(config), config.cohort, data, words=words(config))
    if isinstance(config.cohort, MEDSCohortConfig):
        return build_meds(meds_root(config.paths), config.cohort, data, words(config))
    assert isinstance(config.cohort, ReleaseCohortConfig)
    spec = database(config.dataset)
    return build_cohort(spec, Release.parse(spec.schema, release_roots(config)), config.cohort, data, meter(config))


def words(config: ExperimentConfig) -> Words:
    """Which levels and names of a custom cohort become columns: those that may be shown."""
    return Words(min_subjects=config.privacy.min_count)


def custom_source(config: ExperimentConfig) -> Path:
    """Find the custom cohort.

    Returns:
        Its folder.

    Raises:
        ConfigError: if none is named.
    """
    if not config.paths.cohort:
        raise ConfigError("dataset=custom needs COHORT=/path (or paths.cohort), a folder as docs/cohort.md describes")
    return Path(config.paths.cohort)


def meds_root(paths: PathsConfig) -> Path:
    """Find the MEDS data.

    Returns:
        Its folder.

    Raises:
        ConfigError: if none is named.
    """
    root = paths.root(MEDS)
    if not root:
        raise ConfigError(
            "dataset=meds needs MEDS_ROOT=/path (or paths.roots.meds), a folder as docs/meds.md describes"
        )
    return Path(root)


def release_roots(config: ExperimentConfig) -> str:
    """Roots of the release; without one, the folder of the built-in simulated release, generated on first use."""
    if not config.simulated:
        return config.paths.root(config.dataset)
    from data_modules.simulate.release import release_folder, simulate

    assert isinstance(config.cohort, ReleaseCohortConfig)
    check_modalities(database(config.dataset), config.cohort.modalities)  # before anything is simulated
    coded = config.simulate.phenotypes or any(map(is_phenotype, config.cohort.tasks))
    knobs = replace(config.simulate, databases=[SIMULATED[config.dataset]], phenotypes=coded)
    target = release_folder(knobs, Path(config.paths.data))
    with progress("simulating subjects", knobs.subjects) as advance:
        simulate(knobs, target, processes=usable_cores(), advance=advance)
    return str(target)


def meter(config: ExperimentConfig) -> Meter:
    """What shows the progress of `cohort.verify`."""
    return progress if config.trainer.progress_bar else no_meter


def print_simulated(config: ExperimentConfig) -> None:
    """Warn if the data are simulated."""
    if config.simulated:
        warn(NO_RELEASE)
