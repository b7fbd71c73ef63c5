"""Applies inclusion rules in order and counts the rows and subjects left after each."""

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl


@dataclass(frozen=True, kw_only=True)
class Rule:
    """One inclusion rule.

    Attributes:
        name: description of the rows that remain.
        keep: True = keep the row; null counts as False.
        needed: whether a row that the rule removes has no prediction time, so that pre-training cannot use it either.
    """

    name: str
    keep: pl.Expr
    needed: bool = False


def apply_rules(candidates: pl.DataFrame, rules: Sequence[Rule], start: str) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Apply rules in order.

    Args:
        candidates: one row per unit, with `subject_id`.
        rules: the rules, first to last.
        start: description of the candidates.

    Returns:
        The rows that pass all rules, and the attrition table (`rule`, `rows`, `subjects`).

    >>> frame = pl.DataFrame({"subject_id": [1, 1, 2], "age": [17, 18, 40]})
    >>> kept, table = apply_rules(frame, [Rule(name="adults", keep=pl.col("age") >= 18)], "admissions")
    >>> table.rows()
    [('admissions', 3, 2), ('adults', 2, 2)]
    """
    kept = candidates
    counts = [(start, kept.height, kept["subject_id"].n_unique())]
    for rule in rules:
        kept = kept.filter(rule.keep.fill_null(value=False))
        counts.append((rule.name, kept.height, kept["subject_id"].n_unique()))
    schema = {"rule": pl.String, "rows": pl.Int64, "subjects": pl.Int64}
    return kept, pl.DataFrame(counts, schema=schema, orient="row")
