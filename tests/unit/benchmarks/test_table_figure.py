import csv
import io
from pathlib import Path

from benchmarks.table_figure import lines_of
from mmnar_lightning.tables.written import to_csv
from tests.helpers.paths import ROOT

SHOWN = ("cohort", "task", "method", "pattern", "rows", "auroc", "auroc_low", "auroc_high", "not_applicable")


def test_the_lines_of_a_stored_table_are_those_that_were_written(tmp_path: Path) -> None:
    path = ROOT / "docs" / "table" / "quick.csv"
    stored = path.read_text(encoding="utf-8")
    again = to_csv(list(lines_of(path)))
    first, second = (list(csv.DictReader(io.StringIO(text))) for text in (stored, again))
    assert len(first) > 100
    assert [[row[name] for name in SHOWN] for row in first] == [[row[name] for name in SHOWN] for row in second]
