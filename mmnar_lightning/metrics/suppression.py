"""Which cells of a table are hidden, so that no small count follows from the totals that are shown.

Complementary cell suppression: docs/privacy.md has the rule, and why no small count can be narrowed to fewer than
`min_count` values.
"""

from collections.abc import Collection, Mapping
from typing import NamedTuple

ALL = "all"
"""Name of the cell that is the sum of the others."""


class Counts(NamedTuple):
    """Rows of a cell with a known label, and those of them that are positive."""

    rows: float
    positives: float

    @property
    def negatives(self) -> float:
        """The other rows."""
        return self.rows - self.positives


ADDED_UP = ("positives", "negatives")
"""Counts whose hidden sum must be 0 or large; that of the rows is then large as well."""


def with_sum(cells: Mapping[str, Counts]) -> dict[str, Counts]:
    """The same cells after their sum, `all`.

    Returns:
        Name -> counts.

    >>> with_sum({"11": Counts(60, 22), "10": Counts(33, 20)})["all"]
    Counts(rows=93, positives=42)
    """
    return {ALL: Counts(sum(own.rows for own in cells.values()), sum(own.positives for own in cells.values())), **cells}


def is_small(counts: Counts, min_count: int) -> bool:
    """Whether a cell has few rows, or some but few positives or negatives.

    Returns:
        Whether it is hidden for its own sake.

    >>> is_small(Counts(40, 40), 10), is_small(Counts(40, 3), 10), is_small(Counts(40, 37), 10)
    (False, True, True)
    """
    some = (getattr(counts, quantity) for quantity in ADDED_UP)
    return not counts.rows >= min_count or any(0 < count < min_count for count in some)


def hidden_cells(
    tables: Mapping[str, Mapping[str, Counts]],
    min_count: int,
    *,
    totals_only: bool = False,
    withheld: Collection[str] = (),
) -> dict[str, frozenset[str]]:
    """Choose the cells that are hidden.

    Hidden are all small cells and, where their sum would follow from the total and would be small, the smallest other
    cell. A cell of few rows is hidden in every table, because another table shows its rows. A table with a small total
    is hidden whole.

    Args:
        tables: task -> cell -> counts; `all` is the sum of the other cells, which are the same rows in every table.
        min_count: smallest count that is shown.
        totals_only: whether every cell but `all` is hidden: other tables show other parts of the same rows.
        withheld: tasks that are hidden whole, whatever their counts.

    Returns:
        Task -> names of the hidden cells, with `all` only if the table is hidden whole.

    >>> cells = {"all": Counts(100, 45), "11": Counts(60, 22), "10": Counts(33, 20), "01": Counts(7, 3)}
    >>> sorted(hidden_cells({"death": cells}, min_count=10)["death"])
    ['01', '10']
    """
    shown = {
        task: cells for task, cells in tables.items() if task not in withheld and not is_small(cells[ALL], min_count)
    }
    few = {name for cells in shown.values() for name, counts in cells.items() if not counts.rows >= min_count}
    for cells in shown.values():
        _complete(few, cells, "rows", min_count)
    found = {task: frozenset(cells) for task, cells in tables.items()}
    for task, cells in shown.items():
        hidden = {name for name, counts in cells.items() if name in few or is_small(counts, min_count)}
        for quantity in ADDED_UP:
            _complete(hidden, cells, quantity, min_count)
        found[task] = frozenset(set(cells) - {ALL} if totals_only else hidden)
    return found


def _complete(hidden: set[str], cells: Mapping[str, Counts], quantity: str, min_count: int) -> None:
    """Hide one more cell if the sum of the hidden ones, total minus shown, is small.

    One is enough: a cell that is not small has none or at least `min_count` of any quantity.
    """
    shown = [name for name in cells if name != ALL and name not in hidden]
    left = getattr(cells[ALL], quantity) - sum(getattr(cells[name], quantity) for name in shown)
    if 0 < left < min_count:
        hidden.add(min((cells[name].rows, name) for name in shown if getattr(cells[name], quantity))[1])
