"""The second derivation of docs/validation.md: cells of the open demos, and that a broken rule would be seen."""

import re
from collections import Counter
from typing import Any

import numpy as np
import pytest

from benchmarks.validation import compare, demos, plain
from benchmarks.validation.compare import Part
from benchmarks.validation.plain import Act
from tests.helpers.paths import ROOT

CELLS = {
    "mimic-iv-demo": {
        ("icu_24h", "labs"): (71_625, 56_730),
        ("icu_24h", "vitals"): (17_000, 15_949),
        ("icu_24h", "special_labs"): (20_750, 11_820),
        ("icu_24h", "urinalysis"): (20_750, 14_569),
        ("icu_24h", "neurology"): (3_500, 3_460),
        ("icu_24h", "respiration"): (26_000, 12_348),
        ("icu_24h", "vasoactives"): (9_125, 2_906),
        ("icu_24h", "fluids"): (1_500, 1_442),
        ("icu_24h", "scores"): (1_500, 1_200),
        ("icu_24h", "labels"): (250, 250),
        ("icu_24h", "demographics"): (5_625, 5_502),
        ("discharge", "labs"): (148_980, 111_569),
        ("discharge", "vitals"): (35_360, 19_041),
        ("discharge", "special_labs"): (43_160, 22_681),
        ("discharge", "urinalysis"): (43_160, 30_063),
        ("discharge", "neurology"): (7_280, 4_184),
        ("discharge", "respiration"): (54_080, 18_534),
        ("discharge", "vasoactives"): (18_980, 5_120),
        ("discharge", "fluids"): (3_120, 391),
        ("discharge", "scores"): (3_120, 1_527),
        ("discharge", "labels"): (1_040, 1_040),
        ("discharge", "demographics"): (11_700, 11_550),
    },
    "eicu-demo": {
        ("unit_24h", "labs, subset_100_patients"): (1_018_616, 394_702),
        ("unit_24h", "labs, reconstructed_from_yaib"): (1_018_616, 564_236),
        ("unit_24h", "vitals_periodic"): (191_396, 118_623),
        ("unit_24h", "vitals_aperiodic"): (103_808, 57_435),
        ("unit_24h", "vasoactives"): (118_406, 29_083),
        ("unit_24h", "infusion_rates"): (133_004, 32_634),
        ("unit_24h", "fluids"): (19_464, 12_550),
        ("unit_24h", "respiration"): (322_778, 98_956),
        ("unit_24h", "scores"): (12_976, 8_544),
        ("unit_24h", "labels"): (8_110, 8_090),
        ("unit_24h", "demographics"): (113_540, 105_909),
    },
}
"""Demo -> landmark and part -> cells, and cells with a value."""


@pytest.mark.demo
@pytest.mark.parametrize("name", CELLS)
def test_no_cell_of_the_demos_disagrees_with_the_loops(name, request, tmp_path) -> None:
    folder = request.getfixturevalue({"mimic-iv-demo": "mimic_demo", "eicu-demo": "eicu_demo"}[name])
    parts = list(demos.PARTS[name](folder, tmp_path))
    assert {part.name: part.reasons for part in parts if part.disagree} == {}
    assert {(part.database.split(", ")[1], part.name): (part.cells, part.filled) for part in parts} == CELLS[name]


def test_the_page_has_the_counts_of_the_test() -> None:
    lines = (ROOT / "docs" / "validation.md").read_text(encoding="utf-8").splitlines()
    table = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in lines if re.search(r"\| .* demo, ", line)
    ]
    shown = {
        (cohort.split(", ")[1], part): (int(cells.replace(",", "")), int(filled.replace(",", "")), disagree)
        for cohort, part, _, cells, filled, disagree, *_ in table
    }
    assert shown == {key: (*counts, "0") for by_part in CELLS.values() for key, counts in by_part.items()}


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
