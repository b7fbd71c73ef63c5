"""The second derivation of docs/validation.md: cells of the open demos, and that a broken rule would be seen."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.validation import compare, demos, harmonised, plain
from benchmarks.validation.compare import Part
from benchmarks.validation.plain import Act
from tests.helpers.paths import ROOT


def on_the_page(database: str) -> dict[tuple[str, str], list[int]]:
    """The rows, cells and cells with a value of docs/validation.md for the demo of a database, by landmark and part."""
    lines = (ROOT / "docs" / "validation.md").read_text(encoding="utf-8").splitlines()
    table = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if f"| {database} demo, " in line]
    assert all(disagree == "0" for *_, disagree, _ in table)
    return {
        (cohort.split(", ")[1], part): [int(count.replace(",", "")) for count in counts]
        for cohort, part, *counts, _, _ in table
    }


def counted(parts: list[Part]) -> dict[tuple[str, str], list[int]]:
    """The same counts of parts that were compared, none of whose cells disagrees."""
    assert {part.name: part.reasons for part in parts if part.disagree} == {}
    return {(part.database.split(", ")[1], part.name): [part.rows, part.cells, part.filled] for part in parts}


@pytest.mark.demo
def test_no_cell_of_the_mimic_demo_disagrees_with_the_loops(mimic_demo: Path, tmp_path: Path) -> None:
    found = counted(list(demos.mimic(mimic_demo, tmp_path)))
    assert found == on_the_page("MIMIC-IV")
    assert len(found) == 60


STAYS = 400


@pytest.mark.demo
def test_no_cell_of_400_stays_of_the_eicu_demo_disagrees_with_the_loops(eicu_demo: Path, tmp_path: Path) -> None:
    """`make validation` compares the cells of all of its 1,622; the labels of all are compared here too."""
    found, page = counted(list(demos.unit_stays(eicu_demo, tmp_path, STAYS))), on_the_page("eICU")
    labels = "unit_24h", "labels"
    assert found.pop(labels) == page.pop(labels)
    assert found.keys() == page.keys()
    assert len(found) == 25
    for part, (rows, cells, filled) in found.items():
        of_all, cells_of_all, filled_of_all = page[part]
        assert (rows, cells * of_all) == (STAYS, cells_of_all * STAYS), part
        assert filled / STAYS == pytest.approx(filled_of_all / of_all, rel=0.15), part


def test_the_loops_take_the_last_day_by_hour() -> None:
    acts = [act(hours, value) for hours, value in ((-24, 9.0), (-23.9, 1.0), (-0.4, 2.0), (0, 4.0))]
    assert [(one.hours, one.value) for one in harmonised.by_hour(acts)] == [(-23, 1.0), (0, 2.0), (0, 4.0)]


def test_the_loops_hold_a_rate_until_it_changes_or_is_too_old() -> None:
    rates = [act(-40, 0.1), act(-20.5, 0.2), act(-18.5, 0.0), act(-2.5, 0.3), act(-0.5, None)]
    every = sorted((one.hours, one.value) for one in harmonised.held(rates, 99.0) if one.value is not None)
    assert every == [(-23, 0.1), (-22, 0.1), (-21, 0.1), (-20, 0.2), (-19, 0.2), (-18, 0.0), (-2, 0.3), (-1, 0.3)]
    young = [one.hours for one in harmonised.held(rates, 4.0) if one.value]
    assert min(young) == -20


def test_a_cell_that_differs_is_counted_under_its_column() -> None:
    found = np.array([[1.0, np.nan, 3.0], [1.0, 2.0, np.nan]])
    expected = [{"a/mean": 1.0, "b/mean": np.nan, "b/slope": 3.1}, {"a/mean": 1.0, "b/mean": np.nan, "b/slope": np.nan}]
    part = compare.cells(Part("demo", "labs"), ["a/mean", "b/mean", "b/slope"], found, expected)
    assert (part.cells, part.filled, part.reasons) == (6, 4, Counter(slope=1, mean=1))


def test_a_row_or_column_that_only_one_has_disagrees() -> None:
    part = compare.labels(Part("demo", "labels"), ["at", "died"], {1: (5, True), 2: (5, None)}, {1: (5, False)})
    assert (part.cells, part.reasons) == (4, Counter({"row of one only": 2, "died": 1}))
    part = compare.cells(Part("demo", "labs"), ["a"], np.array([[1.0]]), [{"b": 1.0}])
    assert part.reasons == Counter({"a": 1, "b is not a column": 1})


def act(hours: float, value: float | None, **cells: Any) -> Act:
    usual: dict[str, Any] = {"specimen": "", "source": "x", "known": True, "stored": 0}
    return Act(**{"hours": hours, "value": value, **usual, **cells})


def test_the_loops_keep_the_last_revision_with_a_value() -> None:
    acts = [act(-1, 4.0, stored=1), act(-1, 5.0, stored=2), act(-1, None, stored=3), act(-2, None, stored=1)]
    assert sorted((one.hours, one.value) for one in plain.last_revisions(acts)) == [(-2, None), (-1, 5.0)]


def test_the_loops_summarise_by_time_and_specimen() -> None:
    acts = [
        act(-4, 1.0, specimen="7"), act(-4, 3.0, specimen="7", censored=True), act(-4, 5.0, specimen="8"),
        act(-2, 8.0, specimen="9"), act(-1, None, known=False),
    ]  # fmt: skip
    expected = {"count": 2, "first": 4.0, "last": 8.0, "mean": 6.0, "slope": 2.0, "hours_since_last": 2.0}
    assert plain.summary(acts) == {
        **expected,
        "min": 4.0,
        "max": 8.0,
        "censored": 0.25,
        "observed": 1.0,
        "ordered": 1.0,
    }
