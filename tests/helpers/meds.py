"""Small MEDS data, written from events and labels."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl

EVENTS: dict[str, pl.DataType | type[pl.DataType]] = {
    "subject_id": pl.Int64,
    "time": pl.Datetime("us"),
    "code": pl.String,
    "numeric_value": pl.Float32,
    "text_value": pl.String,
}
Event = tuple[int, datetime | None, str, float | None, str | None]


def write_data(root: Path, events: Sequence[Event] | pl.DataFrame, shards: int = 2) -> Path:
    """Shards of events by subject, each sorted by subject and time, and the codes."""
    frame = events if isinstance(events, pl.DataFrame) else pl.DataFrame(events, EVENTS, orient="row")
    for shard in range(shards):
        folder = root / "data" / ("train" if shard else "held_out")
        folder.mkdir(parents=True, exist_ok=True)
        own = frame.filter(pl.col("subject_id") % shards == shard).sort("subject_id", "time", "code")
        own.write_parquet(folder / f"{shard}.parquet")
    (root / "metadata").mkdir(exist_ok=True)
    frame.select("code").unique().sort("code").write_parquet(root / "metadata" / "codes.parquet")
    return root


def read_events(root: Path) -> list[Event]:
    """All events of a folder of data."""
    frame = pl.scan_parquet(root / "data" / "**" / "*.parquet").select(*EVENTS).collect()
    return frame.rows()


def write_splits(root: Path, splits: Mapping[int, str]) -> None:
    """metadata/subject_splits.parquet."""
    pl.DataFrame({"subject_id": list(splits), "split": list(splits.values())}).write_parquet(
        root / "metadata" / "subject_splits.parquet"
    )


def write_labels(folder: Path, task: str, rows: Sequence[tuple[int, datetime, bool | None]], shards: int = 1) -> Path:
    """A task's labels as ACES writes them, in one file for each shard."""
    schema: dict[str, Any] = {"subject_id": pl.Int64, "prediction_time": pl.Datetime("us"), "boolean_value": pl.Boolean}
    frame = pl.DataFrame(list(rows), schema, orient="row")
    for shard in range(shards):
        place = folder / task / f"{shard}.parquet"
        place.parent.mkdir(parents=True, exist_ok=True)
        frame.filter(pl.col("subject_id") % shards == shard).write_parquet(place)
    return folder
