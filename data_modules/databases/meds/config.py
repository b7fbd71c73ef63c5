"""Settings of cohorts from MEDS data."""

from dataclasses import dataclass, field

from data_modules.cohorts.config import CohortConfig as AnyCohortConfig
from data_modules.errors import UserError
from data_modules.settings import expand_paths, path_setting


@dataclass(kw_only=True)
class MEDSCohortConfig(AnyCohortConfig):
    """Labels and modalities of MEDS data."""

    name: str = "meds"
    """Prefix of the cohort folder, before a fingerprint of the settings and raw files."""
    labels: str = field(default="", metadata=path_setting())
    """Folder of labels: a file `<task>.parquet` or a folder `<task>` of Parquet files for each task, as ACES writes
    them."""
    mapping: str = field(default="", metadata=path_setting())
    """YAML file that maps codes to modalities (docs/meds.md)."""
    given_splits: bool = False
    """Use metadata/subject_splits.parquet: tuning is val, held_out is test, and of train a share is calibration."""
    tasks: list[str] = field(default_factory=list)
    """Tasks to use; empty uses all labels."""
    modalities: list[str] = field(default_factory=list)
    """Modalities to use; empty uses all of the mapping."""

    def __post_init__(self) -> None:
        """Expand `~`; refuse given splits beside a held-out fold."""
        super().__post_init__()
        expand_paths(self)
        if self.given_splits and self.split.held_folds:
            keys = ", ".join(f"cohort.split.{key}" for key in self.split.held_folds)
            raise UserError(f"cohort.given_splits=true cannot be used with {keys}, which draws the splits; omit one")


CohortConfig = MEDSCohortConfig
"""The name that the registry reads."""
