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


class Labels(NamedTuple):
    """Rows of a cell, and those of them whose label is known."""

    rows: float
    known: float

    @property
    def unknown(self) -> float:
        """The other rows."""
        return self.rows - self.known


def hidden_labels(
    tables: Mapping[str, Mapping[str, Labels]], hidden: Collection[str], min_count: int
) -> frozenset[str]:
    """Choose the cells whose numbers of rows and of unknown labels are hidden, in every task alike.

    The numbers of known labels are those of `hidden_cells`, and are shown there. A cell is hidden if it is hidden
    there, or has some but few rows with an unknown or a known label in any task. Rows of hidden cells can then move
    from one to another as long as each has as many as known labels: what can move is their least number of unknown
    labels over the tasks. If its sum is small, the smallest other cell that has some is hidden as well; if no other
    has, and the total leaves few unknown labels to the hidden cells, every cell is hidden.

    Args:
        tables: task -> cell -> counts; without `all`, and without tasks that are hidden whole.
        hidden: cells that are hidden in the scores of any of these tasks.
        min_count: smallest count that is shown.

    Returns:
        Names of the hidden cells.

    >>> cells = {"11": Labels(60, 20), "10": Labels(33, 20), "01": Labels(20, 17)}
    >>> sorted(hidden_labels({"death": cells}, [], min_count=10))
    ['01', '10']
    """
    names = {name for cells in tables.values() for name in cells}
    least = {name: min(cells[name].unknown for cells in tables.values()) for name in names}
    rows = {name: max(cells[name].rows for cells in tables.values()) for name in names}
    found = {
        name for name in names if name in hidden or any(_few_labels(own[name], min_count) for own in tables.values())
    }
    others = [(rows[name], name) for name in names - found if least[name] > 0]
    if found and sum(least[name] for name in found) < min_count:
        if others:
            found.add(min(others)[1])
        elif any(0 < sum(own[name].unknown for name in found) < min_count for own in tables.values()):
            found = names
    return frozenset(found)


def _few_labels(labels: Labels, min_count: int) -> bool:
    return any(0 < count < min_count for count in (labels.known, labels.unknown))


def withheld_tasks(parts: Mapping[str, Mapping[str, Counts]], min_count: int) -> set[str]:
    """Tasks whose total would show a small total of one part, because the other parts show theirs.

    Args:
        parts: task -> part (a fold) -> counts; a part that is small hides its own total.
        min_count: smallest count that is shown.

    Returns:
        The tasks that are hidden whole where the total of all parts is shown.

    >>> folds = {"death": {"0": Counts(60, 22), "1": Counts(33, 4)}, "icu": {"0": Counts(60, 22), "1": Counts(33, 12)}}
    >>> sorted(withheld_tasks(folds, min_count=10))
    ['death']
    """
    hidden = hidden_cells({task: with_sum(own) for task, own in parts.items()}, min_count)
    return {
        task
        for task, names in hidden.items()
        if any(not is_small(parts[task][name], min_count) for name in names - {ALL})
    }


def _complete(hidden: set[str], cells: Mapping[str, Counts], quantity: str, min_count: int) -> None:
    """Hide one more cell if the sum of the hidden ones, total minus shown, is small.

    One is enough: a cell that is not small has none or at least `min_count` of any quantity.
    """
    shown = [name for name in cells if name != ALL and name not in hidden]
    left = getattr(cells[ALL], quantity) - sum(getattr(cells[name], quantity) for name in shown)
    if 0 < left < min_count:
        hidden.add(min((cells[name].rows, name) for name in shown if getattr(cells[name], quantity))[1])
