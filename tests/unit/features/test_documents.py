"""Documents: the written file is in one order, whatever the order in which the documents come."""

from pathlib import Path

import polars as pl
import pytest

from data_modules.features import documents

ROWS = [
    (row_id, f"{row_id}-{number % 2}", float(-(number // 2)), f"text {number}")
    for row_id in (0, 2, 5, 7)
    for number in range(6)
]
TIED = [(5, "5-0", 0.0, text) for text in ("b", "a", "c")]
FRAME = pl.DataFrame(ROWS + TIED, schema=["row_id", "document_id", "hours", "text"], orient="row")


def written(frame: pl.DataFrame, folder: Path) -> pl.DataFrame:
    rows = documents.write(frame.lazy(), folder)
    assert rows.to_list() == frame["row_id"].unique().sort().to_list()
    assert [path.name for path in folder.iterdir()] == [documents.DOCUMENTS]
    return pl.read_parquet(folder / documents.DOCUMENTS)


@pytest.mark.parametrize("at_once", [1, 4, 10, 1000])
def test_the_file_is_sorted_whatever_order_the_documents_come_in(tmp_path: Path, monkeypatch, at_once: int) -> None:
    monkeypatch.setattr(documents, "SORTED_AT_ONCE", at_once)
    monkeypatch.setattr(documents, "ROW_GROUP", 3)
    for seed in range(3):
        shuffled = FRAME.sample(fraction=1.0, shuffle=True, seed=seed)
        assert not shuffled.equals(FRAME.sort(*documents.ORDER, "text"))
        assert written(shuffled, tmp_path / str(seed)).equals(FRAME.sort(*documents.ORDER, "text"))


def test_no_document_gives_an_empty_file(tmp_path: Path) -> None:
    assert written(FRAME.clear(), tmp_path / "empty").equals(FRAME.clear())


@pytest.mark.parametrize("at_once", [1, 7, 27])
def test_the_ranges_hold_every_row_once(monkeypatch, at_once: int) -> None:
    monkeypatch.setattr(documents, "SORTED_AT_ONCE", at_once)
    counts = FRAME.group_by("row_id").len("documents").sort("row_id")
    held = [row for first, last in documents._ranges(counts) for row in counts["row_id"] if first <= row <= last]
    assert held == counts["row_id"].to_list()
