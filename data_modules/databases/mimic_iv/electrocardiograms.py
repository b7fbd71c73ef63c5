"""Measurements and reports that the machine makes of an electrocardiogram (MIMIC-IV-ECG).

A recording has no hadm_id: it belongs to the admission during which it was made. Measurements and report are the
machine's own, made with the recording, and known then; a cardiologist's report is not part of the release. 29999 stands
for a point that the machine did not find.
"""

from collections.abc import Mapping
from pathlib import Path

import polars as pl

from data_modules.databases.mimic_iv.emergency import recorded, summaries
from data_modules.databases.mimic_iv.linking import link, windows
from data_modules.features import documents
from data_modules.features.concepts import Concept
from data_modules.features.modality import BuildContext, ColumnBlock, ModalitySpec

TABLE = "ecg_measurements"
NOT_FOUND = 29_999
POINTS = (
    "rr_interval", "p_onset", "p_end", "qrs_onset", "qrs_end", "t_end", "p_axis", "qrs_axis", "t_axis",
)  # fmt: skip
REPORTS = tuple(f"report_{number}" for number in range(18))


def _measured(name: str, unit: str, low: float, high: float) -> Concept:
    return Concept(name=name, unit=unit, low=low, high=high, names=(name,))


ELECTROCARDIOGRAM: tuple[Concept, ...] = (
    _measured("rr_interval", "ms", 150, 4000),
    _measured("p_duration", "ms", 10, 400),
    _measured("pr_interval", "ms", 30, 800),
    _measured("qrs_duration", "ms", 20, 400),
    _measured("qt_interval", "ms", 100, 1000),
    _measured("p_axis", "degrees", -180, 360),
    _measured("qrs_axis", "degrees", -180, 360),
    _measured("t_axis", "degrees", -180, 360),
)
"""Intervals between the points of the machine, and axes; outside of a range a point was misplaced."""


def _recordings(context: BuildContext, columns: tuple[str, ...]) -> pl.LazyFrame:
    subjects = context.rows.select("subject_id").unique().lazy()
    rows = context.release.scan(TABLE, ["subject_id", "study_id", "ecg_time", *columns])
    return rows.join(subjects, on="subject_id", how="semi").with_columns(hadm_id=pl.lit(None, pl.Int64))


def intervals(rows: pl.LazyFrame) -> pl.LazyFrame:
    """Add the quantities of `ELECTROCARDIOGRAM`.

    Args:
        rows: `POINTS` in ms from the start of the mean beat, and degrees; `NOT_FOUND` or null = not found.

    Returns:
        The other columns and one column a quantity, Float64; null where a point was not found.

    >>> beat = dict(zip(POINTS, (800, 40, 140, 190, 280, 580, 60, 29999, 45)))
    >>> intervals(pl.LazyFrame([beat])).collect().rows()
    [(800.0, 100.0, 150.0, 90.0, 390.0, 60.0, None, 45.0)]
    """
    found = {name: pl.when(pl.col(name) != NOT_FOUND).then(pl.col(name)).cast(pl.Float64) for name in POINTS}
    spans = {
        "p_duration": found["p_end"] - found["p_onset"],
        "pr_interval": found["qrs_onset"] - found["p_onset"],
        "qrs_duration": found["qrs_end"] - found["qrs_onset"],
        "qt_interval": found["t_end"] - found["qrs_onset"],
    }
    values = {**found, **spans}
    kept = [name for name in rows.collect_schema() if name not in POINTS]
    return rows.select(*kept, *(values[concept.name].alias(concept.name) for concept in ELECTROCARDIOGRAM))


def _block(context: BuildContext) -> ColumnBlock:
    events = recorded(intervals(_recordings(context, POINTS)), ELECTROCARDIOGRAM, at="ecg_time")
    return summaries(context, events, TABLE, ELECTROCARDIOGRAM)


def _reports(context: BuildContext, folder: Path) -> pl.Series:
    """The lines of the machine's report, as one text for each recording."""
    lines = [pl.col(name).str.strip_chars() for name in REPORTS]
    text = pl.concat_list(pl.when(line != "").then(line) for line in lines).list.drop_nulls().list.join("\n")
    said = _recordings(context, REPORTS).with_columns(text=text).filter(pl.col("text") != "")
    known = link(said, windows(context.rows).lazy(), at="ecg_time")
    hours = (pl.col("ecg_time") - pl.col("landmark_at")).dt.total_seconds() / 3600
    written = known.select("row_id", "text", hours=hours, document_id=pl.col("study_id").cast(pl.String))
    return documents.write(written.select("row_id", "hours", "text", "document_id"), folder)


ELECTROCARDIOGRAMS: Mapping[str, ModalitySpec] = {
    "ecg": ModalitySpec(kind="table", tables=(TABLE,), block=_block),
    "ecg_report": ModalitySpec(kind="documents", tables=(TABLE,), files=_reports),
}
"""The modalities of this file."""
