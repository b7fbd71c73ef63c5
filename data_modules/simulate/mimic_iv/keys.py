"""Ids and declared frames, shared by the writers of simulated MIMIC-IV."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl

from data_modules.databases.mimic_iv.tables import MIMIC_IV
from data_modules.simulate.frames import Int, frame
from data_modules.simulate.mimic_iv.timeline import Admissions

FIRST_SUBJECT, FIRST_ADMISSION, FIRST_STAY, FIRST_TRANSFER = 10_000_000, 20_000_000, 30_000_000, 35_000_000
ADMISSIONS_EACH = 4
LABS_EACH = 5_000
"""Upper bound of the labs of one subject; keeps labevent_id unique between chunks."""


def table(name: str, columns: Mapping[str, Any]) -> pl.DataFrame:
    """Build a frame of a declared table (see `frames.frame`)."""
    return frame(MIMIC_IV.tables[name], columns)


def subject_ids(start: int, count: int) -> Int:
    """Number the subjects start, start + 1, ..."""
    return np.arange(FIRST_SUBJECT + start, FIRST_SUBJECT + start + count)


def admission_ids(start: int, admissions: Admissions) -> Int:
    """Number the admissions of a chunk."""
    return np.asarray(FIRST_ADMISSION + (start + admissions.person) * ADMISSIONS_EACH + admissions.number)
