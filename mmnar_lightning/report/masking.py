"""Small cells are masked before a table, figure or log shows them."""

from collections.abc import Mapping
from typing import Any

from mmnar_lightning.metrics.intervals import METRICS


def mask_cells(results: Mapping[str, Any], min_count: int) -> dict[str, Any]:
    """The same results with cells of fewer rows emptied, for everything that is shown or shared."""

    def mask(cell: Mapping[str, Any]) -> dict[str, Any]:
        return dict(cell) if cell["count"] >= min_count else dict.fromkeys(cell)

    return {
        task: {"all": mask(cells["all"]), "patterns": {name: mask(cell) for name, cell in cells["patterns"].items()}}
        for task, cells in results.items()
    }


def mask_offsets(offsets: Mapping[str, Any], min_count: int) -> dict[str, Any]:
    """The rectifier's table with the patterns of fewer calibration rows emptied."""

    def mask(entry: Mapping[str, Any]) -> dict[str, Any]:
        return dict(entry) if entry["count"] >= min_count else dict.fromkeys(entry)

    return {
        task: {**table, "patterns": {name: mask(entry) for name, entry in table["patterns"].items()}}
        for task, table in offsets.items()
    }


def table_rows(cells: Mapping[str, Any]) -> list[list[str]]:
    """Rows of one task for a person: pattern, count (positives), and each metric with its interval.

    Args:
        cells: {`all`, `patterns`} of a task; masked cells are left out.
    """
    return [
        [name, f"{cell['count']} ({cell['positives']})", *(score_text(cell[metric]) for metric in METRICS)]
        for name, cell in {"all": cells["all"], **cells["patterns"]}.items()
        if cell["count"] is not None
    ]


def score_text(score: Mapping[str, Any]) -> str:
    """A metric and its interval, for people."""
    if score["value"] is None:
        return "undefined"
    ends = "" if score["low"] is None else f" ({score['low']:.2f} to {score['high']:.2f})"
    return f"{score['value']:.2f}{ends}"
