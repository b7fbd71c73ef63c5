"""The modalities of MEDS data: summaries of numbers, indicators of codes, and texts."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl

from data_modules.cohorts.fitting import Fitting, Words
from data_modules.cohorts.given_events import FIRST, concepts_of, numbered
from data_modules.databases.meds.concepts import Group
from data_modules.databases.meds.events import WINDOW, link
from data_modules.features import codes, documents, series, store
from data_modules.features.store import BoolArray
from data_modules.vocabulary import Modality

DISTINCT = "/distinct"
"""Ends the name of the column that counts the codes of a row."""


class Written(NamedTuple):
    """A modality that was written.

    Attributes:
        modality: None if no event belongs to it, or no code has columns.
        present: (N,) bool, True = an event was known at the prediction time.
        lines: for the user.
    """

    modality: Modality | None
    present: BoolArray
    lines: list[str]


def write(group: Group, path: Path, rows: pl.DataFrame, words: Words, folder: Path) -> Written:
    """Write the files of a modality.

    Args:
        group: the modality.
        path: scratch file of its events.
        rows: of the cohort, with `split`, sorted by `row_id`.
        words: which codes become columns.
        folder: of the modality, created.

    Returns:
        The modality, its presence and lines for the user.
    """
    events = pl.scan_parquet(path)
    present = np.zeros(rows.height, dtype=np.bool_)
    if group.kind == "documents":
        present[_write_texts(events, rows, folder).to_numpy()] = True
        return _finished(group, present, Modality(name=group.name, kind="documents"), [])
    timed = events if group.kind == "codes" else events.filter(pl.col("time").is_not_null())
    pairs = _pairs(timed, rows)
    present[pairs["row_id"].to_numpy()] = True
    keys = rows.filter((pl.col("split") == "train") & pl.Series(present))
    train = keys.select(pl.col("row_id").cast(pl.Int64), subject_id="subject_key")
    fitting = Fitting(modality=group.name, path=path, present=pl.Series(present), train=train, words=words)
    chosen = _codes(group, pairs, fitting)
    found = pairs["word"].unique()
    lines = fitting.line("codes", int(found.is_in(chosen).sum()), len(found), "left out")
    if not chosen:
        return Written(None, present, lines or [f"{group.name}: no event of the data matches its codes"])
    if group.kind == "codes":
        names = [*(f"{group.name}/{code}" for code in chosen), group.name + DISTINCT]
        out = store.create(folder, rows.height, names)
        codes.write(pairs, chosen, out)
    else:
        out = _write_numbers(timed, rows, chosen, folder)
    store.fit_statistics(out, present & (rows["split"] == "train").to_numpy()).save(folder)
    return _finished(group, present, Modality(name=group.name, kind="table", width=out.shape[1]), lines)


def _finished(group: Group, present: BoolArray, modality: Modality, lines: list[str]) -> Written:
    if not present.any():
        return Written(None, present, [f"{group.name}: no event of the data matches its codes"])
    return Written(modality, present, lines)


def _pairs(events: pl.LazyFrame, rows: pl.DataFrame) -> pl.DataFrame:
    """`row_id` and `word`, the codes of each row, each once; by blocks of rows."""
    parts = [
        link(events, rows[block])
        .select(pl.col("row_id").cast(pl.Int64), word="code")
        .unique()
        .collect(engine="streaming")
        for block in store.blocks(rows.height)
    ]
    return pl.concat(parts).sort("row_id", "word")


def _codes(group: Group, pairs: pl.DataFrame, fitting: Fitting) -> list[str]:
    """The codes that become columns: those of the model, or of enough train subjects."""
    if fitting.columns is None:
        return sorted(fitting.fit(pairs))
    if group.kind == "events":
        return [column.removesuffix(FIRST) for column in fitting.columns if column.endswith(FIRST)]
    prefix = f"{group.name}/"
    return [column.removeprefix(prefix) for column in fitting.columns if column != group.name + DISTINCT]


def _write_numbers(events: pl.LazyFrame, rows: pl.DataFrame, chosen: list[str], folder: Path) -> store.FloatArray:
    """Write the summaries of the numbers of each code."""
    concepts = concepts_of(chosen)
    out = store.create(folder, rows.height, series.column_names(concepts))

    def of_rows(events: pl.LazyFrame, block: pl.DataFrame) -> pl.LazyFrame:
        value = pl.when(pl.col("numeric_value").is_finite()).then("numeric_value")
        return numbered(link(events, block).select("row_id", "hours", name="code", value=value), chosen)

    series.write(events, rows.select(WINDOW), concepts, out, of_rows, settle=lambda found: found)
    return out


def _write_texts(events: pl.LazyFrame, rows: pl.DataFrame, folder: Path) -> pl.Series:
    """Write the texts that were known; one without a time comes before all others."""
    filled = events.filter(pl.col("text_value").str.strip_chars() != "")
    linked = link(filled.with_columns(at=pl.col("time")), rows)
    named = pl.format("{} {}", "code", pl.col("at").cast(pl.String).fill_null(""))
    return documents.write(linked.select("row_id", "hours", document_id=named, text="text_value"), folder)
