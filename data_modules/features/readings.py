"""Results that are recorded as text: plain numbers, and limits such as `<0.01` or `GREATER THAN 1000`."""

from collections.abc import Sequence

import polars as pl

_NUMBER = r"((?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d*)?|\.\d+)"
_SIGN = r"(?:<|>|less\s+than|greater\s+than|more\s+than|below|above|under|over)"
LIMIT = rf"^\s*{_SIGN}\s*(?:or\s+equal\s+to\s*)?=?\s*{_NUMBER}"
"""Begins with a comparison, in lower case; a remark may follow the number."""
PLAIN = rf"^\s*([-+]?){_NUMBER}\s*$"
NOT_DONE = r"^\s*(?:not\s+(?:done|performed)|nd\b|cancel)"
"""Begins with a statement that nothing was measured, in lower case."""


def limit(column: str) -> pl.Expr:
    """Return the limit that a text states, Float64; null if the text does not begin with a comparison.

    >>> texts = ["<0.01.  Verified", "GREATER THAN 1,000", "5.2", "___", None]
    >>> pl.DataFrame({"text": texts}).select(limit("text")).to_series().to_list()
    [0.01, 1000.0, None, None, None]
    """
    return _number(pl.col(column).str.to_lowercase().str.extract(LIMIT, 1))


def plain(column: str) -> pl.Expr:
    """Return the number that a text is, Float64; null if the text is anything more.

    >>> pl.DataFrame({"text": ["5.2 ", "-3", "5 of 9", "<5"]}).select(plain("text")).to_series().to_list()
    [5.2, -3.0, None, None]
    """
    text = pl.col(column)
    sign = pl.when(text.str.extract(PLAIN, 1) == "-").then(-1.0).otherwise(1.0)
    return sign * _number(text.str.extract(PLAIN, 2))


def _number(digits: pl.Expr) -> pl.Expr:
    return digits.str.replace_all(",", "").cast(pl.Float64, strict=False)


def not_done(columns: Sequence[str]) -> pl.Expr:
    """Return whether one of the texts states that nothing was measured; null counts as no statement.

    >>> frame = pl.DataFrame({"text": ["ND .  Not Done", "UNABLE TO REPORT", None]})
    >>> frame.select(not_done(["text"])).to_series().to_list()
    [True, False, False]
    """
    stated = [pl.col(column).str.to_lowercase().str.contains(NOT_DONE) for column in columns]
    return pl.any_horizontal(stated).fill_null(value=False).alias("not_done")
