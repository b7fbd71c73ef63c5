"""Documents of a row as texts, which encoders read later."""

from collections.abc import Iterator
from pathlib import Path

import polars as pl

DOCUMENTS = "documents.parquet"
ORDER = ("row_id", "hours", "document_id")
"""Columns that order the documents of a cohort; custom cohorts may lack the last two."""
ROW_GROUP = 256
"""Documents per row group, which are read together; small, because notes are long."""
SORTED_AT_ONCE = 4096
"""Documents sorted together in memory, about 40 MB of discharge summaries."""


def write(documents: pl.LazyFrame, folder: Path) -> pl.Series:
    """Stream documents into a folder, sorted by `ORDER` and text, so that the same documents give the same file.

    Memory does not hold all texts, so the documents are first written unsorted and then sorted by ranges of rows.

    Args:
        documents: `row_id`, `document_id`, `hours`, `text`, in any order.
        folder: created; receives `documents.parquet`.

    Returns:
        The row ids with a document, ascending.
    """
    folder.mkdir(parents=True)
    unsorted = folder / ".unsorted.parquet"
    documents.sink_parquet(unsorted, compression="lz4", row_group_size=ROW_GROUP)
    scanned = pl.scan_parquet(unsorted)
    counts = scanned.group_by("row_id").len("documents").sort("row_id").collect(engine="streaming")
    parts: list[Path] = []
    for first, last in _ranges(counts):
        part = scanned.filter(pl.col("row_id").is_between(first, last)).collect(engine="streaming")
        parts.append(folder / f".sorted-{len(parts)}.parquet")
        part.sort(*ORDER, "text").write_parquet(parts[-1], compression="lz4", row_group_size=ROW_GROUP)
    pl.scan_parquet(parts or unsorted).sink_parquet(folder / DOCUMENTS, row_group_size=ROW_GROUP)
    for path in (unsorted, *parts):
        path.unlink()
    return counts["row_id"]


def _ranges(counts: pl.DataFrame) -> Iterator[tuple[int, int]]:
    """Yield first and last row id of ranges with about `SORTED_AT_ONCE` documents each.

    Args:
        counts: `row_id`, ascending, and `documents`, the number of documents of the row.
    """
    number = (pl.col("documents").cum_sum() - 1) // SORTED_AT_ONCE
    ranges = counts.group_by(number.alias("range"), maintain_order=True).agg(
        first=pl.col("row_id").first(), last=pl.col("row_id").last()
    )
    yield from ranges.select("first", "last").iter_rows()
