"""Draws the figure of docs/table.md again from the CSV file beside the page, without a run.

`python -m benchmarks.table_figure docs/table/quick.csv docs/figures/table_quick.png structured cxr discharge_note
radiology_report` names the modalities of the cohorts, in the order of a pattern's characters.
"""

import argparse
import csv
from collections.abc import Iterator, Mapping
from pathlib import Path

from mmnar_lightning.commands.table import PICTURE_DPI
from mmnar_lightning.evaluation.results import Score
from mmnar_lightning.report import style
from mmnar_lightning.tables.figure import forest
from mmnar_lightning.tables.score import Line


def lines_of(path: Path) -> Iterator[Line]:
    """The lines of a table with what its figure shows: rows and AUROC.

    Args:
        path: of the CSV file.

    Yields:
        The lines, in order.
    """
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            ends = [_number(row[f"auroc{end}"]) for end in ("", "_low", "_high")]
            yield Line(
                cohort=row["cohort"],
                task=row["task"],
                method=row["method"],
                pattern=row["pattern"],
                rows=int(row["rows"]) if row["rows"] else None,
                scores={"auroc": Score(value=ends[0], low=ends[1], high=ends[2], num_defined=0, method="stored")},
                reason=row["not_applicable"],
            )


def _number(text: str) -> float | None:
    return float(text) if text else None


def draw(path: Path, target: Path, reference: str, modalities: Mapping[str, list[str]]) -> None:
    """Draw the figure as `mmnar table` does for a page."""
    style.save(forest(list(lines_of(path)), reference, modalities), target, ["png"], PICTURE_DPI)


def main() -> None:
    """Draw the figure of the file that is named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("csv", type=Path)
    parser.add_argument("figure", type=Path)
    parser.add_argument("modalities", nargs="+")
    parser.add_argument("--reference", default="full method")
    given = parser.parse_args()
    cohorts = {line.cohort for line in lines_of(given.csv)}
    draw(given.csv, given.figure, given.reference, dict.fromkeys(cohorts, given.modalities))


if __name__ == "__main__":
    main()
