"""Subject-level splits and folds by salted hash, so that every subject is in one split and one fold."""

import hashlib
from collections.abc import Mapping
from itertools import accumulate
from typing import Literal

import polars as pl

from data_modules.cohorts.config import SplitConfig
from data_modules.errors import UserError

Half = Literal["A", "B"]
"""The two halves of the calibration split."""


def unit_interval(subject_id: str, salt: str) -> float:
    """Return a number in [0, 1) that depends only on subject and salt.

    >>> 0 <= unit_interval("10000032", "mmnar") < 1
    True
    """
    digest = hashlib.blake2b(f"{salt}:{subject_id}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


def assign(rows: pl.DataFrame, config: SplitConfig) -> pl.DataFrame:
    """Add `split` and `fold` to the rows of a cohort.

    Args:
        rows: as `CohortRows.rows`: `subject_key`, and `split_key` or `era` where these decide.
        config: fractions, salt, number of folds, and what is held out.

    Returns:
        The rows in their order, with `split` and `fold` (Int8).

    Raises:
        UserError: if a setting needs folds in order of time and the rows have no era, or another number of eras.
    """
    has_eras = "era" in rows.columns
    unit = "split_key" if "split_key" in rows.columns and not has_eras else "subject_key"
    eras = era_folds(rows.select(pl.col(unit).alias("subject_id"), "era"), config) if has_eras else None
    if eras is None and config.test_from is not None:
        raise UserError(
            f"cohort.split.test_from={config.test_from}, which evaluation.protocol=temporal sets, needs folds in order "
            "of time: set cohort.fold_by=year_group, or give a custom cohort the column `fold`"
        )
    drawn = draw(rows[unit], config, eras)
    placed = rows.join(drawn, left_on=unit, right_on="subject_id", maintain_order="left")
    return calibrate_at_target(placed, "subject_key", config)


def era_folds(eras: pl.DataFrame, config: SplitConfig) -> pl.DataFrame:
    """Number the eras of a cohort in order of time, and assign each subject to that of its first row.

    Args:
        eras: `subject_id` and `era` of the rows.
        config: number of folds.

    Returns:
        `subject_id`, `fold`: 0 for the first era of the cohort.

    Raises:
        UserError: if the number of folds is not that of the eras.

    >>> eras = pl.DataFrame({"subject_id": ["a", "b", "b"], "era": ["2015", "2015", "2014"]})
    >>> era_folds(eras, SplitConfig(num_folds=2)).rows()
    [('a', 1), ('b', 0)]
    """
    names = eras["era"].unique().sort()
    if len(names) != config.num_folds:
        raise UserError(
            f"cohort.split.num_folds={config.num_folds}: the rows are of {len(names)} year groups "
            f"({', '.join(names)}) and cohort.fold_by=year_group makes each a fold; "
            + (f"set cohort.split.num_folds={len(names)}" if len(names) > 1 else "set another cohort.fold_by")
        )
    first = eras.group_by("subject_id").agg(pl.col("era").min())
    numbered = pl.DataFrame({"era": names, "fold": range(len(names))})
    return first.join(numbered, on="era").select("subject_id", "fold").sort("subject_id")


def calibrate_at_target(rows: pl.DataFrame, subject: str, config: SplitConfig) -> pl.DataFrame:
    """Move a share of the held-out folds' subjects from test to calibration.

    Subjects are hashed, also where a fold is a set of hospitals: the rectifier is then fitted in those that are tested.

    Args:
        rows: `split`, and the column of subjects.
        subject: name of that column.
        config: share and salt.

    Returns:
        The rows; without `target_calibration`, as they are.

    >>> rows = pl.DataFrame({"subject_id": ["a", "b", "c"], "split": ["train", "test", "test"]})
    >>> calibrate_at_target(rows, "subject_id", SplitConfig(target_calibration=0.6))["split"].to_list()
    ['train', 'test', 'calibration']
    """
    if not config.target_calibration:
        return rows
    held = rows.filter(pl.col("split") == "test")[subject].unique()
    moved = held.filter(_positions(held, f"{config.salt}/target") < config.target_calibration)
    chosen = pl.col(subject).is_in(moved.implode())
    return rows.with_columns(split=pl.when(chosen).then(pl.lit("calibration")).otherwise(pl.col("split")))


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


def _positions(subjects: pl.Series, salt: str) -> pl.Series:
    return pl.Series([unit_interval(name, salt) for name in subjects], dtype=pl.Float64)


def _by_fraction(subjects: pl.Series, fractions: Mapping[str, float], salt: str) -> pl.Series:
    """Hash distinct subjects into splits in the proportions of the fractions, which need not sum to 1."""
    position = _positions(subjects, salt) * sum(fractions.values())
    *bounds, _ = accumulate(fractions.values())
    number = sum(((position >= bound).cast(pl.Int8) for bound in bounds), pl.zeros(len(subjects), pl.Int8, eager=True))
    return number.replace_strict(range(len(fractions)), list(fractions), return_dtype=pl.String)


def _hold_out(drawn: pl.DataFrame, config: SplitConfig) -> pl.DataFrame:
    """Make held-out folds the test split, or two folds of train and calibration the calibration split."""
    fold, split = pl.col("fold"), pl.col("split")
    if config.test_fold is not None or config.test_from is not None:
        held = fold == config.test_fold if config.test_fold is not None else fold >= config.test_from
        unused = {"test", "calibration"} if config.target_calibration else {"test"}
        rest = {name: fraction for name, fraction in config.fractions.items() if name not in unused}
        others = _by_fraction(drawn["subject_id"], rest, config.salt)
        drawn = drawn.with_columns(split=pl.when(held).then(pl.lit("test")).otherwise(others))
    if config.crossfit_fold is not None:
        held = fold.is_in([config.crossfit_fold, (config.crossfit_fold + 1) % config.num_folds])
        again = pl.when(held).then(pl.lit("calibration")).otherwise(pl.lit("train"))
        drawn = drawn.with_columns(split=pl.when(split.is_in(["train", "calibration"])).then(again).otherwise(split))
    return drawn


def calibration_half(cohort: pl.DataFrame, half: Half, config: SplitConfig) -> pl.Series:
    """Select one half of the calibration split; the halves share no subject.

    With `target_calibration` all of it is half B: labels of the held-out folds must not enter the training loss.

    Args:
        cohort: `row_id`, `subject_id`, `split`, `fold`.
        half: A fits the rectifier of the training loss, B that of the output.
        config: with `crossfit_fold`, this fold is half B and the other calibration fold half A; otherwise a hash of the
            subject halves, independent of other rows and their order.

    Returns:
        Row ids, ascending.

    >>> rows = {"row_id": [0, 1, 2], "subject_id": ["a", "a", "b"], "split": ["calibration"] * 3, "fold": [1, 1, 2]}
    >>> calibration_half(pl.DataFrame(rows), "B", SplitConfig(crossfit_fold=1)).to_list()
    [0, 1]
    """
    rows = cohort.filter(pl.col("split") == "calibration")
    if config.target_calibration:
        in_second = pl.lit(value=True)
    elif config.crossfit_fold is None:
        subjects = rows["subject_id"].unique()
        second = subjects.filter(_positions(subjects, f"{config.salt}/half") >= 0.5)
        in_second = pl.col("subject_id").is_in(second.implode())
    else:
        in_second = pl.col("fold") == config.crossfit_fold
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
