"""Settings of its cohorts."""

from dataclasses import dataclass

from data_modules.cohorts.config import ReleaseCohortConfig


@dataclass(kw_only=True)
class CohortConfig(ReleaseCohortConfig):
    """Which stays, with which outcome."""

    min_age: int = 18
    """Years at admission."""
