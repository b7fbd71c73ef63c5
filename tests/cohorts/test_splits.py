"""Splits and folds belong to subjects, and to nothing else."""

import polars as pl
import pytest

from data_modules.cohorts.splits import SplitConfig, draw
from data_modules.vocabulary import SPLITS

MANY = pl.Series([str(10_000_000 + number) for number in range(20_000)])


def table(drawn):
    return {row[0]: row[1:] for row in drawn.rows()}


def test_a_subject_with_many_rows_gets_one_split_and_one_fold():
    drawn = draw(pl.concat([MANY[:500], MANY[:250], MANY[100:400]]), SplitConfig())
    assert drawn["subject_id"].to_list() == MANY[:500].to_list()
    assert drawn.null_count().row(0) == (0, 0, 0)


def test_fractions_of_many_subjects_are_near_what_was_asked():
    config = SplitConfig(train=0.5, calibration=0.1, val=0.15, test=0.25)
    shares = draw(MANY, config)["split"].value_counts(normalize=True)
    shares = dict(shares.rows())
    assert set(shares) == set(SPLITS)
    for split, fraction in config.fractions.items():
        assert shares[split] == pytest.approx(fraction, abs=0.012)


def test_folds_are_even_and_drawn_apart_from_the_splits():
    drawn = draw(MANY, SplitConfig(num_folds=4))
    shares = drawn.group_by("split", "fold").len().with_columns(pl.col("len") / pl.col("len").sum().over("split"))
    assert sorted(drawn["fold"].unique()) == [0, 1, 2, 3]
    assert shares["len"].is_between(0.21, 0.29).all()


def test_the_split_of_a_subject_does_not_depend_on_who_else_is_there():
    together = table(draw(MANY.reverse(), SplitConfig()))
    for subjects in (MANY[:1], MANY[5:50], MANY[::7]):
        alone = table(draw(subjects, SplitConfig()))
        assert alone == {subject: together[subject] for subject in subjects}


def test_a_draw_is_the_same_today_and_in_ten_years():
    drawn = draw(pl.Series(["10000032", "10001217", "10019003", "10039708"]), SplitConfig())
    assert drawn.rows() == [
        ("10000032", "val", 0),
        ("10001217", "calibration", 0),
        ("10019003", "calibration", 3),
        ("10039708", "calibration", 4),
    ]


def test_another_salt_draws_another_split():
    first, second = (draw(MANY, SplitConfig(salt=salt)) for salt in ("a", "b"))
    assert (first["split"] != second["split"]).mean() > 0.3


def test_a_split_of_size_zero_gets_nobody():
    drawn = draw(MANY, SplitConfig(train=0.8, calibration=0.0, val=0.1, test=0.1))
    assert set(drawn["split"]) == {"train", "val", "test"}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"train": 0.7}, "add up to 1"),
        ({"train": 0.9, "calibration": -0.15}, "must be at least 0"),
        ({"train": 0.0, "test": 0.75}, "cohort.split.train must be above 0"),
        ({"num_folds": 1}, "cohort.split.num_folds=1"),
    ],
)
def test_fractions_and_folds_that_make_no_sense_are_refused_by_name(settings, message):
    with pytest.raises(ValueError, match=message):
        SplitConfig(**settings)
