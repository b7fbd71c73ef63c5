"""A look-up of the cells of a column, block by block."""

from collections.abc import Mapping
from typing import Any

import polars as pl


def looked_up(cells: pl.Expr, table: Mapping[Any, Any], dtype: pl.DataType, default: Any = None) -> pl.Expr:
    """Return what a table has for each cell; null for null.

    `Expr.replace_strict` does the same, but gathers all rows of a streamed frame before it replaces one, which takes
    memory as large as the table that is read.

    Args:
        cells: keys of the table, and others.
        table: cell -> value.
        dtype: of the values.
        default: value of cells that the table lacks.

    >>> frame = pl.DataFrame({"text": ["pos", "lots", None]})
    >>> frame.select(looked_up(pl.col("text"), {"pos": 1.0}, pl.Float64(), 0.0)).to_series().to_list()
    [1.0, 0.0, None]
    """

    def replaced(block: pl.Series) -> pl.Series:
        found = block.replace_strict(list(table), list(table.values()), default=default, return_dtype=dtype)
        return found.set(block.is_null(), None) if block.null_count() else found

    return cells.map_batches(replaced, return_dtype=dtype, is_elementwise=True)
