"""Categories as indicators: every filled cell belongs to one group."""

from collections.abc import Mapping, Sequence

import polars as pl

OTHER = "other"


def group_of(text: pl.Expr, groups: Mapping[str, Sequence[str]], *, exact: bool = False, rest: str = OTHER) -> pl.Expr:
    """Return the group of each cell, text; null = empty.

    Args:
        text: as of `indicators`.
        groups: likewise.
        exact: likewise.
        rest: likewise.

    >>> frame = pl.DataFrame({"race": ["WHITE - OTHER EUROPEAN", "MULTIPLE RACE", None]})
    >>> frame.select(group_of(pl.col("race"), {"white": ["white"]})).to_series().to_list()
    ['white', 'other', None]
    """
    cell = text.str.strip_chars().str.to_lowercase()
    group: pl.Expr = pl.when(cell.is_not_null()).then(pl.lit(rest))
    for known, texts in reversed(list(groups.items())):
        matches = cell.is_in(texts) if exact else pl.any_horizontal(cell.str.starts_with(one) for one in texts)
        group = pl.when(matches).then(pl.lit(known)).otherwise(group)
    return group


def indicators(
    text: pl.Expr, name: str, groups: Mapping[str, Sequence[str]], *, exact: bool = False, rest: str = OTHER
) -> list[pl.Expr]:
    """Return one indicator a group: 1 = the cell is of this group, 0 = of another, null = empty.

    A cell is of the first group of which it begins with a text (or, with `exact`, is one), else of the group `rest`.

    Args:
        text: the cells; null = empty.
        name: prefix of the columns.
        groups: group -> texts, in lower case.
        exact: whether a cell must be equal to a text.
        rest: the group of all other cells.

    Returns:
        `<name>/<group>` for each group and `rest`, Float64.

    >>> race = {"white": ["white", "portuguese"], "black": ["black"]}
    >>> frame = pl.DataFrame({"race": ["WHITE - OTHER EUROPEAN", "MULTIPLE RACE", None]})
    >>> frame.select(indicators(pl.col("race"), "race", race)).rows()
    [(1.0, 0.0, 0.0), (0.0, 0.0, 1.0), (None, None, None)]
    """
    group = group_of(text, groups, exact=exact, rest=rest)
    names = [*groups, *([] if rest in groups else [rest])]
    return [(group == known).cast(pl.Float64).alias(f"{name}/{known}") for known in names]
