"""Labels of phenotypes: whether a unit of analysis has a diagnosis code of a block (`icd_blocks.py`)."""

from collections.abc import Sequence

import polars as pl

from data_modules.cohorts.columns import LABEL
from data_modules.cohorts.icd_blocks import PREFIX, Block

CATEGORY = "category"
_EXTERNAL = r"^[EV]"
"""ICD-9-CM's external causes and factors; ICD-10 has other meanings for these letters."""
_ADVERSE = r"^T(3[6-9]|4\d|50)(..[56]|.[56]X)"
"""Adverse effects and underdosing of drugs in ICD-10-CM, the sixth character or, before an X, the fifth. ICD-9-CM has
them among its external causes (E930 to E949), so they are no poisoning in either."""


def categories(code: pl.Expr, version: pl.Expr) -> pl.Expr:
    """Return the category of each code, the first three characters; null where ICD-9-CM has a letter, or it is empty.

    It is null too where ICD-10-CM has an adverse effect or an underdosing of a drug.

    Args:
        code: with or without a point.
        version: 9 or 10, the revision of each code.

    Returns:
        Text.

    >>> codes = ["4280", "I50.9", " e1110", "E8497", "T383X1A", "T383X5A"]
    >>> frame = pl.DataFrame({"code": codes, "version": [9, 10, 10, 9, 10, 10]})
    >>> frame.select(categories(pl.col("code"), pl.col("version"))).to_series().to_list()
    ['428', 'I50', 'E11', None, 'T38', None]
    """
    clean = code.str.strip_chars().str.to_uppercase()
    other = ((version == 9) & clean.str.contains(_EXTERNAL)) | _adverse(clean)
    return pl.when(~other & (clean.str.len_chars() >= 3)).then(clean.str.slice(0, 3))


def mixed_categories(codes: pl.Expr) -> pl.Expr:
    """Return the categories of lists of codes of both revisions, as eICU writes them.

    Args:
        codes: text, codes with their points separated by commas; those of ICD-9-CM may lack leading zeros.

    Returns:
        List of text, one a code; null for external causes, and for adverse effects and underdosing of drugs.

    >>> frame = pl.DataFrame({"codes": ["428.0, I50.9", "31.2", "E980.9, T50", None]})
    >>> frame.select(mixed_categories(pl.col("codes"))).to_series().to_list()
    [['428', 'I50'], ['031'], [None, 'T50'], None]
    """
    every = (
        codes.str.to_uppercase().str.split(",").list.eval(pl.element().str.strip_chars().replace("", None).drop_nulls())
    )
    return pl.when(codes.is_not_null()).then(every.list.eval(_head(pl.element())))


def _adverse(code: pl.Expr) -> pl.Expr:
    return code.str.replace(".", "", literal=True).str.contains(_ADVERSE)


def _head(code: pl.Expr) -> pl.Expr:
    """The part before the point; a letter with three digits is an external cause of ICD-9-CM."""
    head = pl.when(~_adverse(code)).then(code.str.split(".").list.first())
    padded = pl.when(head.str.contains(r"^\d+$")).then(head.str.zfill(3)).otherwise(head)
    return pl.when(padded.str.contains(r"^(\d{3}|[A-Z]\d[0-9A-Z])$")).then(padded)


def labels(units: pl.DataFrame, coded: pl.LazyFrame, key: str, blocks: Sequence[Block]) -> pl.DataFrame:
    """Label units of analysis.

    Args:
        units: one row per unit.
        coded: `key` and `CATEGORY`, one row per code; null categories are codes of no block.
        key: column of the unit's id.
        blocks: to label.

    Returns:
        The units, in their order, with `label/phenotype_<block>`: null where no diagnosis was coded.

    >>> from data_modules.cohorts.icd_blocks import of_tasks
    >>> coded = pl.LazyFrame({"stay": [1, 1, 2], "category": ["428", "J18", None]})
    >>> liver = of_tasks(["phenotype_heart_failure"])
    >>> labels(pl.DataFrame({"stay": [2, 1, 3]}), coded, "stay", liver)["label/phenotype_heart_failure"].to_list()
    [False, True, None]
    """
    if not blocks:
        return units
    found = coded.join(units.lazy().select(key).unique(), on=key, how="semi").group_by(key).agg(map(_any, blocks))
    return units.join(found.collect(engine="streaming"), on=key, how="left", maintain_order="left")


def _any(block: Block) -> pl.Expr:
    inside = [pl.col(CATEGORY).is_between(pl.lit(first), pl.lit(last)) for first, last in block.ranges]
    return pl.any_horizontal(inside).fill_null(value=False).any().alias(f"{LABEL}{PREFIX}{block.name}")
