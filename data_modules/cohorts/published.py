"""Published predictions of the rows of a cohort: kept beside it, outside of every modality, for a baseline."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import polars as pl

from data_modules.cohorts.columns import PRESENT
from data_modules.cohorts.spec import DatabaseSpec
from data_modules.features import store
from data_modules.raw.reader import Release

SCORES = "scores.parquet"
"""`row_id`, and `<score>/<task>`, a probability, or `<score>/points`, for a score without a published equation."""
POINTS = "/points"
"""Ending of a column of points."""


def score_tables(spec: DatabaseSpec, release: Release) -> tuple[str, ...]:
    """The tables of a database's own predictions; none if one of them is missing."""
    tables = spec.score_tables
    return () if release.missing(tables) else tables


def write(
    folder: Path,
    spec: DatabaseSpec,
    release: Release,
    cohort: pl.DataFrame,
    rows: pl.DataFrame,
    places: Mapping[str, Path],
) -> None:
    """Write the predictions of a database, and those that follow from modalities; no file without any.

    Args:
        folder: of the cohort.
        spec: the database.
        release: its tables.
        cohort: its table, with presence.
        rows: its rows, with what the database reads of them.
        places: modality -> its folder, for those that are one table of the database.
    """
    frames = []
    if spec.scores is not None and score_tables(spec, release):
        frames.append(spec.scores(release, rows))
    for name, place in places.items():
        publish = spec.modalities[name].published
        if publish is not None:
            present = cohort[f"{PRESENT}{name}"].to_numpy()
            values = np.where(present[:, None], store.open_values(place)[: cohort.height].astype(np.float64), np.nan)
            scores = publish(dict(zip(store.read_columns(place), values.T, strict=True)))
            frames.append(pl.DataFrame({"row_id": cohort["row_id"], **scores}, nan_to_null=True))
    if frames:
        first, *others = frames
        for frame in others:
            first = first.join(frame, on="row_id", how="left", maintain_order="left")
        first.write_parquet(folder / SCORES)
