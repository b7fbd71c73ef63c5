"""The result of the cohort builder of a database."""

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from data_modules.cohorts.attrition import Rule


@dataclass(frozen=True)
class CohortRows:
    """Rows of a cohort with labels, before presence, splits and features.

    Attributes:
        rows: one row per unit, sorted by key: `row_id`, `subject_key` (text), `admission_id`, one prediction time,
            `label/<task>`, `stay_id` and `hospital_id` if the database has them, and columns that its modalities
            read; `split_key` (text) if splits and folds are drawn by a larger unit than the subject; `era` (text that
            sorts in order of time) if folds are eras.
        attrition: `rule`, `rows`, `subjects`.
        notes: counts for the manifest.
        others: the units that are no row, sorted as `rows`, with its columns but `row_id` and labels; None unless
            `cohort.pretraining_rows` asks for them.
        needed: the rules that a unit must pass to have a prediction time.
    """

    rows: pl.DataFrame
    attrition: pl.DataFrame
    notes: dict[str, int]
    others: pl.DataFrame | None = None
    needed: Sequence[Rule] = ()
