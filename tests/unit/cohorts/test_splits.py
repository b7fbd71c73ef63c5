"""Splits and folds belong to subjects, and to nothing else."""

from dataclasses import replace

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_modules.cohorts.config import SplitConfig
from data_modules.cohorts.splits import assign, calibration_half, draw
from data_modules.errors import UserError
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
    shares = dict(draw(MANY, config)["split"].value_counts(normalize=True).rows())
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
    ("words", "message"),
    [
        ({"train": 0.7}, "sum to 1"),
        ({"train": 0.9, "calibration": -0.15}, "must be at least 0"),
        ({"train": 0.0, "test": 0.75}, "cohort.split.train must be above 0"),
        ({"num_folds": 1}, "cohort.split.num_folds=1"),
        ({"test_fold": 5}, "cohort.split.test_fold=5 is not a fold: .* 0 to 4"),
        ({"test_fold": -1}, "cohort.split.test_fold=-1"),
        ({"crossfit_fold": 3, "num_folds": 3}, "cohort.split.crossfit_fold=3"),
        ({"crossfit_fold": 0, "num_folds": 2}, "cohort.split.num_folds=2 must be at least 3"),
        ({"crossfit_fold": 0, "test_fold": 1}, "set one of them"),
        ({"test_from": 1, "test_fold": 1}, "cohort.split.test_fold and cohort.split.test_from use the same folds"),
        ({"test_from": 0}, "cohort.split.test_from=0 leaves no fold for training"),
        ({"test_from": 5}, "cohort.split.test_from=5 is not a fold"),
        ({"target_calibration": 1.0}, "cohort.split.target_calibration=1.0 must be at least 0 and below 1"),
        ({"target_calibration": -0.1}, "cohort.split.target_calibration=-0.1"),
    ],
)
def test_fractions_and_folds_that_make_no_sense_are_refused_by_name(words, message):
    with pytest.raises(ValueError, match=message):
        SplitConfig(**words)


def test_every_subject_is_test_in_exactly_one_fold_and_the_others_keep_their_proportions():
    runs = [draw(MANY, SplitConfig(num_folds=4, test_fold=fold)) for fold in range(4)]
    tested = [set(run.filter(split="test")["subject_id"]) for run in runs]
    assert sum(map(len, tested)) == len(MANY)
    assert set().union(*tested) == set(MANY)
    assert all(run["fold"].equals(runs[0]["fold"]) for run in runs)
    shares = dict(runs[2].filter(pl.col("split") != "test")["split"].value_counts(normalize=True).rows())
    expected = {"train": 0.60 / 0.85, "calibration": 0.15 / 0.85, "val": 0.10 / 0.85}
    assert shares == {split: pytest.approx(share, abs=0.012) for split, share in expected.items()}


def test_a_held_out_fold_needs_no_test_fraction():
    drawn = draw(MANY, SplitConfig(train=0.7, calibration=0.2, val=0.1, test=0.0, test_fold=1))
    assert set(drawn["split"]) == set(SPLITS)
    assert (drawn["split"] == "test").equals(drawn["fold"] == 1)


@pytest.mark.parametrize("held", [{"test_fold": 1}, {"crossfit_fold": 2}])
def test_what_is_held_out_depends_neither_on_the_order_nor_on_who_else_is_there(held):
    config = SplitConfig(**held)
    together = table(draw(MANY, config))
    for subjects in (MANY[:300].reverse(), MANY[::7].sample(fraction=1, shuffle=True, seed=1)):
        alone = draw(subjects, config)
        assert table(alone) == {subject: together[subject] for subject in subjects}


def test_cross_fitting_rotates_the_folds_of_train_and_calibration_and_leaves_val_and_test():
    plain = draw(MANY, SplitConfig(num_folds=5))
    fitted = plain["split"].is_in(["train", "calibration"])
    for fold in range(5):
        drawn = draw(MANY, SplitConfig(num_folds=5, crossfit_fold=fold))
        assert drawn["fold"].equals(plain["fold"])
        assert drawn.filter(~fitted).equals(plain.filter(~fitted))
        held = drawn.filter(fitted & drawn["fold"].is_in([fold, (fold + 1) % 5]))
        assert set(held["split"]) == {"calibration"}
        assert set(drawn.filter(fitted & ~drawn["fold"].is_in([fold, (fold + 1) % 5]))["split"]) == {"train"}


def halves(drawn, salt="mmnar", crossfit_fold=None):
    rows = drawn.with_row_index("row_id")
    config = SplitConfig(salt=salt, crossfit_fold=crossfit_fold)
    ids = {half: calibration_half(rows, half, config) for half in ("A", "B")}
    return {half: set(rows["subject_id"].gather(found)) for half, found in ids.items()}, rows


def test_a_model_never_trains_on_the_fold_of_its_rectifier_nor_takes_the_first_rectifier_from_it():
    for fold in range(5):
        drawn = draw(MANY, SplitConfig(crossfit_fold=fold))
        half, rows = halves(drawn, crossfit_fold=fold)
        assert set(rows.filter(split="calibration", fold=fold)["subject_id"]) == half["B"]
        assert set(rows.filter(split="calibration", fold=(fold + 1) % 5)["subject_id"]) == half["A"]
        assert not half["B"] & (half["A"] | set(rows.filter(split="train")["subject_id"]))
    every = [halves(draw(MANY, SplitConfig(crossfit_fold=fold)), crossfit_fold=fold)[0]["B"] for fold in range(5)]
    fitted = draw(MANY, SplitConfig()).filter(pl.col("split").is_in(["train", "calibration"]))
    assert sorted(name for half in every for name in half) == sorted(fitted["subject_id"])


def test_the_halves_of_calibration_are_even_disjoint_and_do_not_depend_on_the_order():
    drawn = draw(MANY, SplitConfig())
    half, rows = halves(drawn)
    assert not half["A"] & half["B"]
    assert half["A"] | half["B"] == set(rows.filter(split="calibration")["subject_id"])
    assert len(half["B"]) / len(half["A"] | half["B"]) == pytest.approx(0.5, abs=0.03)
    assert halves(drawn.sample(fraction=1, shuffle=True, seed=3))[0] == half
    assert halves(drawn, salt="other")[0] != half


def test_the_rows_of_a_subject_are_in_one_half_together():
    drawn = draw(MANY[:400], SplitConfig())
    repeated = pl.concat([drawn, drawn.reverse(), drawn])
    half, rows = halves(repeated)
    assert not half["A"] & half["B"]
    ids = calibration_half(rows, "A", SplitConfig())
    assert ids.is_sorted()
    assert len(ids) == 3 * len(half["A"])


def test_folds_that_were_given_take_the_place_of_the_draw():
    given = pl.DataFrame({"subject_id": MANY[:90], "fold": [number % 3 for number in range(90)]})
    drawn = draw(MANY[:90], SplitConfig(num_folds=3, test_fold=2), given)
    assert drawn["fold"].to_list() == given["fold"].to_list()
    assert (drawn["split"] == "test").equals(drawn["fold"] == 2)


HOSPITALS = pl.DataFrame({"subject_key": MANY[:600], "split_key": [f"hospital {number % 40}" for number in range(600)]})
BY_HOSPITAL = pl.concat([HOSPITALS, HOSPITALS[::2]])
ERAS = pl.DataFrame({"subject_key": MANY[:600], "era": [("2008", "2011", "2014", "2017")[n % 4] for n in range(600)]})
BY_ERA = pl.concat([ERAS, ERAS.with_columns(era=pl.lit("2017"))[::3]])


HELD = st.one_of(
    st.tuples(st.just(BY_HOSPITAL), st.fixed_dictionaries({"test_fold": st.integers(0, 3)})),
    st.tuples(st.just(BY_ERA), st.fixed_dictionaries({"test_fold": st.integers(0, 3)})),
    st.tuples(st.just(BY_ERA), st.fixed_dictionaries({"test_from": st.integers(1, 3)})),
)


@settings(max_examples=30, deadline=None)
@given(salt=st.text(max_size=5), share=st.floats(0.01, 0.99), held=HELD, train=st.floats(0.1, 0.9))
def test_calibration_and_test_are_of_the_held_folds_and_train_and_val_of_the_others(salt, share, held, train):
    rows, folds = held
    fractions = {"train": train, "calibration": 0.05, "val": (0.95 - train) / 2, "test": (0.95 - train) / 2}
    config = SplitConfig(salt=salt, num_folds=4, target_calibration=share, **folds, **fractions)
    placed = assign(rows, config)
    assert placed.select(rows.columns).equals(rows)
    fold = pl.col("fold")
    is_held = fold == folds["test_fold"] if "test_fold" in folds else fold >= folds["test_from"]
    assert set(placed.filter(is_held)["split"]) <= {"calibration", "test"}
    assert set(placed.filter(~is_held)["split"]) <= {"train", "val"}
    by_subject = placed.group_by("subject_key").agg(pl.col("split", "fold").n_unique())
    assert by_subject.select(pl.col("split", "fold").max()).row(0) == (1, 1)
    again = assign(rows.sample(fraction=1, shuffle=True, seed=1), config)
    assert set(again.rows()) == set(placed.rows())
    less = assign(rows, replace(config, target_calibration=share / 2))
    calibrated = [set(one.filter(split="calibration")["subject_key"]) for one in (less, placed)]
    assert calibrated[0] <= calibrated[1], "a larger share keeps the subjects of a smaller one"


def test_the_share_of_the_target_is_one_of_its_subjects_also_where_a_fold_is_of_hospitals():
    rows = pl.DataFrame({"subject_key": MANY, "split_key": [f"hospital {number % 40}" for number in range(len(MANY))]})
    placed = assign(rows, SplitConfig(num_folds=4, test_fold=1, target_calibration=0.3))
    held = placed.filter(fold=1)
    assert (held["split"] == "calibration").mean() == pytest.approx(0.3, abs=0.02)
    both = held.group_by("split_key").agg(pl.col("split").n_unique())
    assert both["split"].to_list() == [2] * both.height, "the rectifier is fitted in every hospital that is tested"
    others = placed.filter(pl.col("fold") != 1)["split"]
    assert (others == "train").mean() == pytest.approx(6 / 7, abs=0.12)  # of 30 hospitals, drawn as a whole


def test_a_share_of_zero_is_a_held_fold_as_ever():
    plain = assign(BY_HOSPITAL, SplitConfig(num_folds=4, test_fold=2))
    drawn = draw(BY_HOSPITAL["split_key"], SplitConfig(num_folds=4, test_fold=2))
    assert dict(plain.select("split_key", "split").rows()) == dict(drawn.select("subject_id", "split").rows())
    assert set(plain["split"]) == set(SPLITS)


def test_all_calibration_rows_of_the_target_fit_the_rectifier_of_the_output():
    placed = assign(BY_ERA, SplitConfig(num_folds=4, test_from=2, target_calibration=0.5)).with_row_index("row_id")
    rows = placed.rename({"subject_key": "subject_id"})
    config = SplitConfig(num_folds=4, test_from=2, target_calibration=0.5)
    assert calibration_half(rows, "B", config).to_list() == rows.filter(split="calibration")["row_id"].to_list()
    assert calibration_half(rows, "A", config).is_empty()


def test_folds_of_eras_are_in_order_of_time_and_a_subject_is_in_that_of_its_first_row():
    placed = assign(BY_ERA, SplitConfig(num_folds=4, test_from=2))
    first = BY_ERA.group_by("subject_key").agg(pl.col("era").min())
    folds = placed.join(first.rename({"era": "first"}), on="subject_key").select("first", "fold").unique().sort("first")
    assert folds.rows() == [("2008", 0), ("2011", 1), ("2014", 2), ("2017", 3)]
    assert set(placed.filter(pl.col("fold") >= 2)["split"]) == {"test"}
    assert set(placed.filter(pl.col("fold") < 2)["split"]) == {"train", "calibration", "val"}


def test_another_number_of_folds_than_of_eras_is_refused_with_the_number_to_set():
    with pytest.raises(UserError, match=r"4 year groups \(2008, 2011, 2014, 2017\).*set cohort\.split\.num_folds=4"):
        assign(BY_ERA, SplitConfig(num_folds=5))
    with pytest.raises(UserError, match=r"1 year groups \(2008\).*set another cohort\.fold_by"):
        assign(BY_ERA.filter(era="2008"), SplitConfig())


def test_a_boundary_in_time_needs_folds_in_order_of_time():
    with pytest.raises(UserError, match=r"cohort\.split\.test_from=2, .* set cohort\.fold_by=year_group"):
        assign(BY_HOSPITAL, SplitConfig(test_from=2))
