"""Measure the coverage of every interval over a grid and write docs/coverage.md and coverage.csv: `make coverage`."""

import sys
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from benchmarks.coverage import many
from benchmarks.coverage.bias import biases
from benchmarks.coverage.grid import Found, measure, worlds
from benchmarks.coverage.page import page

DOCS = Path(__file__).parents[2] / "docs"
SAMPLES, LARGE_SAMPLES = 200, 120
LARGE = 2000
"""Rows from which `LARGE_SAMPLES` are drawn."""


def table(found: Sequence[Found]) -> pl.DataFrame:
    """One line per interval."""
    return pl.DataFrame(
        [
            {
                "rows": one.world.rows,
                "prevalence": one.world.prevalence,
                "rows_per_subject": float(one.world.rows_per_subject),
                "folds": one.world.folds,
                "figure": one.figure,
                "small": one.small,
                "method": one.method,
                "holds": one.holds if one.method else None,
                "width": one.width if one.method else None,
                "error": one.error,
            }
            for one in found
        ],
        infer_schema_length=None,
    )


def summary(lines: pl.DataFrame, by: Sequence[str]) -> pl.DataFrame:
    """Coverage with its Monte Carlo standard error, mean width, and the share without an interval."""
    held, count = pl.col("holds").mean(), pl.col("holds").count()
    return lines.group_by(by, maintain_order=True).agg(
        pl.len().alias("samples"),
        held.alias("coverage"),
        (held * (1 - held) / count).sqrt().alias("error_of_coverage"),
        pl.col("width").mean().alias("width"),
        pl.col("method").is_null().mean().alias("without_interval"),
        pl.col("error").mean().alias("bias"),
    )


def main() -> None:
    """Measure and write."""
    lines = []
    for world in worlds():
        lines.append(table(measure(world, LARGE_SAMPLES if world.rows >= LARGE else SAMPLES, seed=0)))
        print(world, file=sys.stderr, flush=True)
    whole = pl.concat(lines)
    cells = summary(whole, ["rows", "prevalence", "rows_per_subject", "folds", "figure"])
    cells.write_csv(DOCS / "coverage.csv", float_precision=4)
    (DOCS / "coverage.md").write_text(page(whole, summary, biases(seed=1), pl.read_csv(many.FILE)))


if __name__ == "__main__":
    main()
