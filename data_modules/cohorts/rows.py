"""What every source's cohort builder gives: rows with labels, before presence, splits and features."""

from dataclasses import dataclass

import polars as pl


@dataclass(frozen=True)
class CohortRows:
    """Rows of a cohort before presence, splits and features.

    Attributes:
        rows: one row per unit, sorted by key: `row_id`, `subject_key` (text), `admission_id`, one prediction time,
            `label/<task>`, where there are any `stay_id` and `hospital_id`, and whatever the source's features need;
            `split_key` (text) where something larger than a subject is drawn into splits and folds as a whole.
        attrition: `rule`, `rows`, `subjects`.
        notes: counts worth a line in the manifest.
    """

    rows: pl.DataFrame
    attrition: pl.DataFrame
    notes: dict[str, int]
