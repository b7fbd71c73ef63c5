"""Neither several divisions of the same rows nor the numbers of known labels narrow a small count."""

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmnar_lightning.metrics import suppression
from mmnar_lightning.metrics.suppression import ALL, Counts, Labels, hidden_cells, hidden_labels, with_sum
from tests.unit.metrics.test_suppression import MIN_COUNT, candidates

SIDES = ("positives", "negatives", "unknown")
Known = list[tuple[dict[int, int], float]]
Split = tuple[int, int, int]
"""Positives, negatives and rows with an unknown label of a cell."""
Tables = dict[str, dict[str, Split]]


@st.composite
def partly_known(draw: Any) -> Tables:
    """Two tasks of the same rows by pattern, whose labels are not all known."""
    rows = draw(st.lists(st.integers(0, 6 * MIN_COUNT), min_size=1, max_size=4))
    found: Tables = {"death": {}, "stay": {}}
    for cells in found.values():
        for place, count in enumerate(rows):
            unknown = draw(st.one_of(st.just(0), st.integers(0, count)))
            positives = draw(st.integers(0, count - unknown))
            cells[f"p{place}"] = positives, count - unknown - positives, unknown
    return found


def scored(tables: Tables) -> dict[str, dict[str, Counts]]:
    """The counts of known labels, as of the scores."""
    return {
        task: with_sum({name: Counts(own[0] + own[1], own[0]) for name, own in cells.items()})
        for task, cells in tables.items()
    }


def labels(tables: Tables, hidden: Mapping[str, frozenset[str]]) -> frozenset[str]:
    """The cells that are hidden in the numbers of known labels."""
    shown = [task for task in tables if ALL not in hidden[task]]
    content = {task: {name: Labels(sum(own), own[0] + own[1]) for name, own in tables[task].items()} for task in shown}
    return hidden_labels(content, frozenset().union(*(hidden[task] for task in shown)), MIN_COUNT)


def facts(tables: Tables, hidden: Mapping[str, frozenset[str]], masked: frozenset[str] | None) -> tuple[Known, Any]:
    """What a reader has of the scores, of all rows together and, unless None, of the numbers of known labels."""
    keys = [(task, name, side) for task, cells in tables.items() for name in cells for side in range(3)]
    place = {key: number for number, key in enumerate(keys)}
    known: Known = []
    for task, cells in tables.items():
        every = {place[task, name, side]: 1 for name in cells for side in range(3)}
        known.append((every, sum(sum(own) for own in cells.values())))
        if ALL not in hidden[task]:
            for side in (0, 1):
                total = {place[task, name, side]: 1 for name in cells}
                known.append((total, sum(own[side] for own in cells.values())))
        for name, own in cells.items():
            if name not in hidden[task]:
                known += [({place[task, name, side]: 1}, own[side]) for side in (0, 1)]
            if masked is not None and ALL not in hidden[task] and name not in masked:
                known.append(({place[task, name, 2]: 1}, own[2]))
                known.append(({place[task, name, side]: 1 for side in (0, 1)}, own[0] + own[1]))
    first, other = tables
    for name in tables[first]:
        known.append(
            ({place[task, name, side]: sign for task, sign in ((first, 1), (other, -1)) for side in range(3)}, 0)
        )
    return known, place


def narrowed(
    tables: Tables, masked: frozenset[str], hidden: Mapping[str, frozenset[str]]
) -> list[tuple[str, str, str]]:
    """The small counts of which the numbers of known labels leave fewer values than before, and too few."""
    before, place = facts(tables, hidden, None)
    after, _ = facts(tables, hidden, masked)
    found = []
    for task, cells in tables.items():
        for name, own in cells.items():
            sought = {side: [place[task, name, number]] for number, side in enumerate(SIDES)}
            sought["known"] = [place[task, name, number] for number in (0, 1)]
            for side, variables in sought.items():
                count = own[0] + own[1] if side == "known" else own[SIDES.index(side)]
                if not 0 < count < MIN_COUNT:
                    continue
                left = candidates(after, variables, len(place))
                if left < MIN_COUNT and left < candidates(before, variables, len(place)):
                    found.append((task, name, side))
    return found


@settings(max_examples=60, deadline=None)
@given(partly_known())
def test_the_numbers_of_known_labels_narrow_no_small_count(tables: Tables) -> None:
    hidden = hidden_cells(scored(tables), MIN_COUNT)
    assert not narrowed(tables, labels(tables, hidden), hidden)


def test_the_solver_finds_what_follows_without_the_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    tables = {
        "death": {"a": (20, 20, 10), "b": (10, 10, 12), "c": (10, 10, 2)},
        "stay": {"a": (15, 25, 10), "b": (16, 6, 10), "c": (9, 9, 4)},
    }
    hidden = hidden_cells(scored(tables), MIN_COUNT)
    assert hidden == {"death": frozenset(), "stay": frozenset()}
    masked = labels(tables, hidden)
    assert masked == {"b", "c"}, "c has few unknown labels, and those of b would show them"
    assert not narrowed(tables, masked, hidden)
    assert narrowed(tables, frozenset("c"), hidden) == [("death", "c", "unknown")]
    monkeypatch.setattr(suppression, "_few_labels", lambda *_: False)
    assert labels(tables, hidden) == frozenset()
    assert narrowed(tables, frozenset(), hidden) == [("death", "c", "unknown")]


def test_labels_of_a_pattern_that_the_scores_hide_are_hidden_in_every_task() -> None:
    tables = {
        "death": {"a": (20, 20, 0), "b": (15, 15, 0), "c": (2, 18, 0)},
        "stay": {"a": (9, 9, 22), "b": (8, 8, 14), "c": (8, 8, 4)},
    }
    hidden = hidden_cells(scored(tables), MIN_COUNT)
    assert hidden == {"death": {"b", "c"}, "stay": frozenset()}
    assert labels(tables, hidden) == {"b", "c"}


def test_all_labels_are_hidden_where_one_cell_has_all_that_are_unknown() -> None:
    tables = {"death": {"a": (20, 20, 0), "b": (0, 0, 2)}, "stay": {"a": (20, 20, 0), "b": (2, 0, 0)}}
    hidden = hidden_cells(scored(tables), MIN_COUNT)
    assert "b" in hidden["death"]
    masked = labels(tables, hidden)
    assert masked == {"a", "b"}, "the total of all rows less those of a"
    assert not narrowed(tables, masked, hidden)
    assert narrowed(tables, frozenset("b"), hidden)


def test_nothing_is_hidden_where_every_label_is_known() -> None:
    tables = {task: {"a": (20, 20, 0), "b": (10, 10, 0)} for task in ("death", "stay")}
    assert labels(tables, hidden_cells(scored(tables), MIN_COUNT)) == frozenset()


@st.composite
def crossed(draw: Any) -> dict[tuple[int, int], tuple[int, int]]:
    """Positives and negatives of one task by the levels of two attributes; a reader takes no pair for impossible."""
    levels = draw(st.integers(1, 3)), draw(st.integers(1, 4))
    return {
        (one, other): (draw(st.integers(0, 2 * MIN_COUNT)), draw(st.integers(0, 2 * MIN_COUNT)))
        for one in range(levels[0])
        for other in range(levels[1])
    }


@settings(max_examples=60, deadline=None)
@given(crossed())
def test_two_divisions_of_the_same_rows_narrow_no_small_count(cells: dict[tuple[int, int], tuple[int, int]]) -> None:
    place = {(key, side): number for number, (key, side) in enumerate((key, side) for key in cells for side in (0, 1))}
    known: Known = [
        ({place[key, side]: 1 for key in cells}, sum(own[side] for own in cells.values())) for side in (0, 1)
    ]
    small = []
    for axis in (0, 1):
        members = {f"l{level}": [key for key in cells if key[axis] == level] for level in {key[axis] for key in cells}}
        sums = {name: [sum(cells[key][side] for key in keys) for side in (0, 1)] for name, keys in members.items()}
        table = with_sum({name: Counts(sum(own), own[0]) for name, own in sums.items()})
        hidden = hidden_cells({"death": table}, MIN_COUNT)["death"]
        if ALL in hidden:
            return  # the total is small, so nothing is shown
        for name, keys in members.items():
            for side in (0, 1):
                variables = [place[key, side] for key in keys]
                if name not in hidden:
                    known.append((dict.fromkeys(variables, 1), sums[name][side]))
                if 0 < sums[name][side] < MIN_COUNT:
                    small.append(variables)
            if 0 < sum(sums[name]) < MIN_COUNT:
                small.append([place[key, side] for key in keys for side in (0, 1)])
    assert all(candidates(known, variables, len(place)) >= MIN_COUNT for variables in small)
