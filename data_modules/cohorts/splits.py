"""Subject-level splits and folds by salted hash, so that every subject is in one split and one fold."""

import hashlib
from collections.abc import Mapping
from itertools import accumulate
from typing import Literal

import polars as pl

from data_modules.cohorts.config import SplitConfig

Half = Literal["A", "B"]
"""The two halves of the calibration split."""


def unit_interval(subject_id: str, salt: str) -> float:
    """Return a number in [0, 1) that depends only on subject and salt.

    >>> 0 <= unit_interval("10000032", "mmnar") < 1
    True
    """
    digest = hashlib.blake2b(f"{salt}:{subject_id}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


def draw(subject_ids: pl.Series, config: SplitConfig, given: pl.DataFrame | None = None) -> pl.DataFrame:
    """Draw a split and a fold for every subject.

    Args:
        subject_ids: String, with repeats.
        config: fractions, salt, number of folds, and the held-out fold.
        given: `subject_id` with a predefined `split`, `fold` or both, used instead of the draw.

    Returns:
        One row per subject: `subject_id`, `split`, `fold` (Int8). The standard library computes the hash, so the draw
        does not depend on library versions.

    >>> draw(pl.Series(["a", "b", "a"]), SplitConfig()).columns
    ['subject_id', 'split', 'fold']
    """
    subjects = subject_ids.unique().sort()
    turn = _positions(subjects, f"{config.salt}/fold")
    drawn = pl.DataFrame(
        {
            "subject_id": subjects,
            "split": _by_fraction(subjects, config.fractions, config.salt),
            "fold": (turn * config.num_folds).cast(pl.Int8),
        }
    )
    if given is not None:
        kept = [name for name in drawn.columns if name == "subject_id" or name not in given.columns]
        drawn = drawn.select(kept).join(given.unique("subject_id"), on="subject_id", maintain_order="left")
    return _hold_out(drawn.select("subject_id", "split", pl.col("fold").cast(pl.Int8)), config)


def assign(rows: pl.DataFrame, config: SplitConfig) -> pl.DataFrame:
    """Add the drawn `split` and `fold` to the rows of a database.

    Args:
        rows: with `subject_key`, or `split_key` where splits are drawn by a larger unit than the subject.
        config: as for `draw`.

    Returns:
        The rows, in order.

    >>> assign(pl.DataFrame({"subject_key": ["a", "b", "a"]}), SplitConfig()).columns
    ['subject_key', 'split', 'fold']
    """
    unit = "split_key" if "split_key" in rows.columns else "subject_key"
    return rows.join(draw(rows[unit], config), left_on=unit, right_on="subject_id", maintain_order="left")


def _positions(subjects: pl.Series, salt: str) -> pl.Series:
    return pl.Series([unit_interval(name, salt) for name in subjects], dtype=pl.Float64)


def _by_fraction(subjects: pl.Series, fractions: Mapping[str, float], salt: str) -> pl.Series:
    """Hash distinct subjects into splits in the proportions of the fractions, which need not sum to 1."""
    position = _positions(subjects, salt) * sum(fractions.values())
    *bounds, _ = accumulate(fractions.values())
    number = sum(((position >= bound).cast(pl.Int8) for bound in bounds), pl.zeros(len(subjects), pl.Int8, eager=True))
    return number.replace_strict(range(len(fractions)), list(fractions), return_dtype=pl.String)


def _hold_out(drawn: pl.DataFrame, config: SplitConfig) -> pl.DataFrame:
    """Make one fold the test split, or two folds of train and calibration the calibration split."""
    fold, split = pl.col("fold"), pl.col("split")
    if config.test_fold is not None:
        rest = {name: fraction for name, fraction in config.fractions.items() if name != "test"}
        others = _by_fraction(drawn["subject_id"], rest, config.salt)
        drawn = drawn.with_columns(split=pl.when(fold == config.test_fold).then(pl.lit("test")).otherwise(others))
    if config.crossfit_fold is not None:
        held = fold.is_in([config.crossfit_fold, (config.crossfit_fold + 1) % config.num_folds])
        again = pl.when(held).then(pl.lit("calibration")).otherwise(pl.lit("train"))
        drawn = drawn.with_columns(split=pl.when(split.is_in(["train", "calibration"])).then(again).otherwise(split))
    return drawn


def calibration_half(cohort: pl.DataFrame, half: Half, salt: str, crossfit_fold: int | None) -> pl.Series:
    """Select one half of the calibration split; the halves share no subject.

    Args:
        cohort: `row_id`, `subject_id`, `split`, `fold`.
        half: A fits the rectifier of the training loss, B that of the output.
        salt: `cohort.split.salt`.
        crossfit_fold: `cohort.split.crossfit_fold`: this fold is half B, the other calibration fold half A; None halves
            by a hash of the subject, independent of other rows and their order.

    Returns:
        Row ids, ascending.

    >>> rows = {"row_id": [0, 1, 2], "subject_id": ["a", "a", "b"], "split": ["calibration"] * 3, "fold": [1, 1, 2]}
    >>> calibration_half(pl.DataFrame(rows), "B", "mmnar", crossfit_fold=1).to_list()
    [0, 1]
    """
    rows = cohort.filter(pl.col("split") == "calibration")
    if crossfit_fold is None:
        subjects = rows["subject_id"].unique()
        second = subjects.filter(_positions(subjects, f"{salt}/half") >= 0.5)
        in_second = pl.col("subject_id").is_in(second.implode())
    else:
        in_second = pl.col("fold") == crossfit_fold
    return rows.filter(in_second if half == "B" else ~in_second)["row_id"].sort()


def inner_fold(cohort: pl.DataFrame, num_folds: int, num_repeats: int, salt: str) -> list[pl.Series]:
    """Draw the inner fold of every row outside of calibration and test, by a hash of its subject.

    Args:
        cohort: `subject_id`, `split`.
        num_folds: K.
        num_repeats: R, independent draws.
        salt: `cohort.split.salt`.

    Returns:
        Of each repeat, Int64 in the order of the rows: 0 to K - 1, and -1 in calibration, test and without a split.

    >>> rows = pl.DataFrame({"subject_id": ["a", "b", "a"], "split": ["train", "test", "train"]})
    >>> [series.to_list() for series in inner_fold(rows, 3, 1, "mmnar")]
    [[2, -1, 2]]
    """
    inside = ~pl.col("split").is_in(["calibration", "test"])
    subjects = cohort.filter(inside)["subject_id"].unique().sort()
    drawn = []
    for repeat in range(num_repeats):
        turn = (_positions(subjects, f"{salt}/inner{repeat}") * num_folds).cast(pl.Int64)
        folds = pl.DataFrame({"subject_id": subjects, "turn": turn})
        joined = cohort.select("subject_id", inside.alias("inside")).join(folds, on="subject_id", how="left",
                                                                           maintain_order="left")  # fmt: skip
        drawn.append(joined.select(pl.when("inside").then("turn").otherwise(-1))["turn"])
    return drawn
