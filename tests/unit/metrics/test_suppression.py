"""No small count can be computed from the cells that are shown."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import Bounds, LinearConstraint, milp

from mmnar_lightning.metrics import suppression
from mmnar_lightning.metrics.suppression import ALL, Counts, hidden_cells, is_small, with_sum

MIN_COUNT, MOST = 4, 1000
QUANTITIES = ("rows", "positives", "negatives")
Tables = dict[str, dict[str, Counts]]


@st.composite
def several(draw: Any) -> Tables:
    """Two tasks of the same rows by pattern; small counts are frequent."""
    rows = draw(st.lists(st.integers(0, 4 * MIN_COUNT), min_size=1, max_size=5))
    tasks = {}
    for task in ("death", "stay"):
        positives = [draw(st.integers(0, count)) for count in rows]
        tasks[task] = with_sum(
            {f"p{place}": Counts(*both) for place, both in enumerate(zip(rows, positives, strict=True))}
        )
    return tasks


def places(tables: Tables) -> dict[tuple[str, str, str], int]:
    """(task, cell, quantity) -> its variable."""
    names = [(task, cell) for task, cells in tables.items() for cell in cells]
    return {
        (*name, quantity): 2 * number + side
        for number, name in enumerate(names)
        for side, quantity in enumerate(QUANTITIES[1:])
    }


def published(tables: Tables, hidden: Mapping[str, frozenset[str]]) -> list[tuple[dict[int, int], float]]:
    """Everything that is known of positives and negatives: coefficients of the variables, and their sum.

    Every cell that is shown, the sum of the cells of each task, and that a pattern has the same rows in every task.
    """
    place = places(tables)
    found: list[tuple[dict[int, int], float]] = []
    for task, cells in tables.items():
        for quantity in QUANTITIES[1:]:
            parts = {place[task, cell, quantity]: 1 for cell in cells if cell != ALL}
            found.append(({**parts, place[task, ALL, quantity]: -1}, 0))
            found += [
                ({place[task, cell, quantity]: 1}, getattr(counts, quantity))
                for cell, counts in cells.items()
                if cell not in hidden[task]
            ]
    first, *others = tables
    for cell in tables[first]:
        for other in others:
            signs = {(first, 1), (other, -1)}
            found.append(({place[task, cell, kind]: sign for task, sign in signs for kind in QUANTITIES[1:]}, 0))
    return found


def candidates(known: list[tuple[dict[int, int], float]], sought: list[int], num_variables: int) -> int:
    """Number of values from the least to the greatest that a sum of variables can have."""
    matrix, sums = np.zeros((len(known), num_variables)), [total for _, total in known]
    for line, (coefficients, _) in enumerate(known):
        matrix[line, list(coefficients)] = list(coefficients.values())
    weights = np.zeros(num_variables)
    weights[sought] = 1
    ends = []
    for sign in (1, -1):
        solved = milp(
            sign * weights,
            constraints=LinearConstraint(matrix, sums, sums),
            integrality=np.ones(num_variables),
            bounds=Bounds(0, MOST),
        )
        assert solved.success, solved.message
        ends.append(sign * round(solved.fun))
    return ends[1] - ends[0] + 1


def narrowed(tables: Tables, hidden: Mapping[str, frozenset[str]]) -> list[tuple[str, str, str]]:
    """The small counts of which fewer than MIN_COUNT values are possible."""
    known, place = published(tables, hidden), places(tables)
    found = []
    for task, cells in tables.items():
        for cell, counts in cells.items():
            for quantity in QUANTITIES:
                sides = QUANTITIES[1:] if quantity == "rows" else [quantity]
                sought = [place[task, cell, side] for side in sides]
                small = 0 < getattr(counts, quantity) < MIN_COUNT
                if small and candidates(known, sought, len(place)) < MIN_COUNT:
                    found.append((task, cell, quantity))
    return found


@settings(max_examples=60, deadline=None)
@given(several())
def test_no_small_count_can_be_narrowed_by_all_that_is_shown(tables: Tables) -> None:
    assert not narrowed(tables, hidden_cells(tables, MIN_COUNT))


def test_the_solver_finds_what_follows_without_the_complement(monkeypatch: pytest.MonkeyPatch) -> None:
    cells = with_sum({"a": Counts(30, 15), "b": Counts(20, 10), "c": Counts(20, 2)})
    tables = {"death": cells, "stay": with_sum({name: Counts(cells[name].rows, 10) for name in "abc"})}
    assert not narrowed(tables, hidden_cells(tables, MIN_COUNT))
    monkeypatch.setattr(suppression, "_complete", lambda *_: None)
    assert hidden_cells(tables, MIN_COUNT)["death"] == {"c"}
    assert narrowed(tables, hidden_cells(tables, MIN_COUNT)) == [("death", "c", "positives")]


def test_a_cell_of_few_rows_is_hidden_with_the_same_other_in_every_task() -> None:
    rows = {"a": 30, "b": 20, "c": 19, "d": 3}
    death = with_sum({name: Counts(count, 8) for name, count in rows.items() if name != "d"} | {"d": Counts(3, 0)})
    stay = with_sum({name: Counts(count, count) for name, count in rows.items()} | {"c": Counts(19, 5)})
    hidden = hidden_cells({"death": death, "stay": stay}, MIN_COUNT)
    assert hidden == {"death": {"c", "d"}, "stay": {"c", "d"}}
    apart = {"death": frozenset("cd"), "stay": frozenset("bd")}
    assert ("death", "d", "rows") in narrowed({"death": death, "stay": stay}, apart), "the other differs between tasks"


def test_a_table_with_a_small_total_is_hidden_whole_and_bears_on_no_other() -> None:
    rare = with_sum({"a": Counts(30, 0), "b": Counts(20, 3)})
    often = with_sum({"a": Counts(30, 9), "b": Counts(20, 9)})
    assert hidden_cells({"rare": rare, "often": often}, MIN_COUNT) == {"rare": {ALL, "a", "b"}, "often": frozenset()}


def test_nothing_is_hidden_where_nothing_is_small_or_masking_is_off() -> None:
    assert (
        hidden_cells({"death": with_sum({"a": Counts(30, 9), "b": Counts(20, 0)})}, MIN_COUNT)["death"] == frozenset()
    )
    assert hidden_cells({"death": with_sum({"a": Counts(1, 1), "b": Counts(0, 0)})}, 0)["death"] == frozenset()


def test_cells_without_a_row_are_hidden_and_need_no_other() -> None:
    assert hidden_cells({"death": with_sum({"a": Counts(30, 9), "b": Counts(0, 0)})}, MIN_COUNT)["death"] == {"b"}


@pytest.mark.parametrize(("rows", "positives"), [(3, 0), (0, 0), (20, 3), (20, 17)])
def test_few_rows_positives_or_negatives_make_a_cell_small(rows: int, positives: int) -> None:
    assert is_small(Counts(rows, positives), MIN_COUNT)
    assert not is_small(Counts(rows + 20, 0), MIN_COUNT)
    assert not is_small(Counts(20, 20), MIN_COUNT)
