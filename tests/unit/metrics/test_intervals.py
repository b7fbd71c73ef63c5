import math

import numpy as np
import pytest
import torch
from sklearn import metrics as sklearn_metrics

from mmnar_lightning.metrics import bootstrap, calibration, cells, functional
from mmnar_lightning.metrics.intervals import bootstrap_intervals
from mmnar_lightning.metrics.paired import paired_difference
from mmnar_lightning.metrics.parts import parts_of
from mmnar_lightning.metrics.weighted import NUM_BINS

SLOW = 50
"""Replicates of the loops, each of which is equal."""


def clustered(num_subjects, rows_each, seed, shift=1.0):
    """Rows of subjects that share a label and most of their score; label and score vary between subjects."""
    generator = np.random.default_rng(seed)
    subject = np.repeat(generator.permutation(num_subjects) * 7 + 100, rows_each)
    label = np.repeat(np.arange(num_subjects) % 2, rows_each)
    score = np.repeat(generator.normal(size=num_subjects), rows_each)
    score = shift * label + score + 0.5 * generator.normal(size=len(label))
    return torch.from_numpy(1 / (1 + np.exp(-score))), torch.from_numpy(label), torch.from_numpy(subject)


def mixed(seed, levels):
    """Subjects of unequal size whose rows differ in label, with probabilities on a grid."""
    generator = np.random.default_rng(seed)
    subject, label = generator.integers(30, size=150), generator.integers(2, size=150)
    probability = np.round(np.clip(generator.normal(0.4 + 0.2 * label, 0.25), 0, 1) * levels) / levels
    return torch.from_numpy(probability), torch.from_numpy(label), torch.from_numpy(subject)


def slow_replicates(probability, label, subject, num_replicates, seed):
    """The same draws, the rows replicated literally and scored by scikit-learn."""
    bins = functional.equal_mass_bins(probability, NUM_BINS).numpy()
    probability, label = probability.numpy(), label.numpy()
    names, dense = np.unique(subject.numpy(), return_inverse=True)
    counts = bootstrap.draw_counts(np.random.default_rng(seed), num_replicates, len(names)).long().numpy()
    for count in counts:
        rows = np.repeat(np.arange(len(label)), count[dense])
        residual = np.bincount(bins[rows], weights=probability[rows] - label[rows])
        yield (
            sklearn_metrics.roc_auc_score(label[rows], probability[rows]),
            sklearn_metrics.average_precision_score(label[rows], probability[rows]),
            sklearn_metrics.brier_score_loss(label[rows], probability[rows]),
            np.abs(residual).sum() / len(rows),
        )


@pytest.mark.parametrize("levels", [4, 10**9])
def test_equals_a_slow_loop_over_replicated_rows(levels):
    data = mixed(seed=1, levels=levels)
    expected = np.array(list(slow_replicates(data[0], data[1], data[2], num_replicates=SLOW, seed=5)))
    error = bootstrap.RESAMPLED.index("calibration_error")
    expected[:, error] -= expected[:, error].mean() - functional.calibration_error(data[0], data[1], 15)
    ours = bootstrap_intervals(*data, num_replicates=SLOW, seed=5, level=0.9)
    for column, name in enumerate(bootstrap.RESAMPLED):
        low, high = np.quantile(expected[:, column], [0.05, 0.95])
        assert (ours[name].low, ours[name].high) == pytest.approx((low, high), abs=1e-12)
        assert ours[name].num_defined == SLOW


@pytest.mark.parametrize("levels", [4, 10**9])
def test_value_is_the_metric_of_the_sample(levels):
    probability, label, subject = mixed(seed=2, levels=levels)
    ours = bootstrap_intervals(probability, label, subject, num_replicates=1)
    expected = {
        "auroc": functional.auroc(probability, label),
        "average_precision": functional.average_precision(probability, label),
        "brier": functional.brier_score(probability, label),
        "calibration_error": functional.calibration_error(probability, label, 15),
    }
    assert {name: interval.value for name, interval in ours.items()} == pytest.approx(expected, abs=1e-12)


def test_draws_are_a_multinomial_of_subjects():
    counts = bootstrap.draw_counts(np.random.default_rng(0), 4000, 10)
    assert counts.sum(-1).eq(10).all()
    assert counts.mean(0).tolist() == pytest.approx([1.0] * 10, abs=0.1)
    assert counts.var(0).tolist() == pytest.approx([0.9] * 10, abs=0.12)


@pytest.mark.parametrize("levels", [7, 10**9])
def test_depends_on_rows_and_seed_only(monkeypatch, levels):
    probability, label, subject = mixed(seed=3, levels=levels)
    first = bootstrap_intervals(probability, label, subject, num_replicates=50, seed=1)
    order = torch.randperm(150, generator=torch.Generator().manual_seed(0))
    shuffled = probability[order], label[order], subject[order] * 1000 + 5
    assert bootstrap_intervals(*shuffled, num_replicates=50, seed=1) == first
    assert bootstrap_intervals(*shuffled, num_replicates=50, seed=2) != first
    monkeypatch.setattr(bootstrap, "CHUNK_ELEMENTS", 150 * 7)
    chunked = bootstrap_intervals(*shuffled, num_replicates=50, seed=1)
    for name, interval in first.items():
        assert vars(chunked[name]) == pytest.approx(vars(interval), abs=1e-12)


@pytest.mark.parametrize("num_subjects", [7, 1000, 200_000])
def test_every_pass_over_draws_has_those_of_all_at_once_and_few_are_in_memory(num_subjects) -> None:
    draws = bootstrap.Draws(5, num_subjects, 3)
    whole = bootstrap.draw_counts(np.random.default_rng(3), 5, num_subjects)
    for _ in range(2):
        parts = list(draws)
        assert torch.equal(torch.cat(parts), whole)
        assert max(len(part) for part in parts) <= max(1, bootstrap.CHUNK_ELEMENTS // num_subjects)


def test_chunks_bound_the_memory():
    for num_rows in (1, 150, 40_000, 10**6):
        sizes = bootstrap._chunks(2_000, num_rows)
        assert sum(sizes) == 2_000
        assert max(sizes) * num_rows <= max(bootstrap.CHUNK_ELEMENTS, num_rows)


def test_intervals_cover_clustered_data_where_naive_ones_do_not():
    truth = 0.5 * (1 + math.erf(1 / math.sqrt(2 * 1.25) / math.sqrt(2)))  # Phi(shift / sd of a difference)
    covered, widths = {"clustered": 0, "naive": 0}, {"clustered": 0.0, "naive": 0.0}
    for seed in range(60):
        probability, label, subject = clustered(num_subjects=60, rows_each=6, seed=seed)
        for name, cluster in {"clustered": subject, "naive": torch.arange(len(label))}.items():
            interval = bootstrap_intervals(probability, label, cluster, num_replicates=200, seed=seed)["auroc"]
            covered[name] += interval.low <= truth <= interval.high
            widths[name] += interval.high - interval.low
    assert widths["clustered"] > 1.5 * widths["naive"]
    assert covered["clustered"] >= 53  # 57 expected of 60
    assert covered["naive"] <= 48


@pytest.mark.parametrize("value", [0, 1])
def test_one_class_is_nan(value):
    probability, _, subject = mixed(seed=6, levels=10)
    ours = bootstrap_intervals(probability, torch.full((150,), value), subject, num_replicates=20)
    assert all(math.isnan(end) for end in (ours["auroc"].value, ours["auroc"].low, ours["auroc"].high))
    assert ours["auroc"].num_defined == 0
    assert ours["average_precision"].num_defined == (20 if value else 0)
    assert math.isnan(ours["average_precision"].low) == (value == 0)
    assert ours["brier"].low < ours["brier"].value < ours["brier"].high


def test_undefined_replicates_are_left_out_and_counted():
    # Two subjects hold one class each: a replicate has both classes with probability one half.
    probability, label, subject = torch.tensor([0.2, 0.3]), torch.tensor([0, 1]), torch.tensor([0, 1])
    by_seed = [bootstrap_intervals(probability, label, subject, num_replicates=101, seed=s)["auroc"] for s in range(8)]
    enough = [interval.num_defined > 50 for interval in by_seed]
    assert any(enough)
    assert not all(enough)
    assert [not math.isnan(interval.low) for interval in by_seed] == enough
    assert all(interval.low == interval.high == 1 for interval, few in zip(by_seed, enough, strict=True) if few)
    assert all(interval.value == 1 for interval in by_seed)


def test_no_rows():
    nothing = torch.zeros(0)
    ours = bootstrap_intervals(nothing, nothing, nothing.long(), num_replicates=3)
    assert all(math.isnan(interval.value) and interval.num_defined == 0 for interval in ours.values())


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"num_replicates": 0}, "num_replicates=0"),
        ({"level": 1.0}, r"level=1\.0"),
        ({"level": 0.0}, "level=0"),
    ],
)
def test_refuses_nonsense(setting, message):
    with pytest.raises(AssertionError, match=message):
        bootstrap_intervals(*mixed(seed=0, levels=5), **setting)


def test_refuses_subjects_of_another_shape():
    with pytest.raises(AssertionError, match="subject has the shape"):
        bootstrap_intervals(torch.rand(4), torch.zeros(4), torch.zeros(3))


def test_one_subject_has_values_and_no_interval():
    probability, label = torch.tensor([0.2, 0.7, 0.4]), torch.tensor([0.0, 1.0, 1.0])
    intervals = bootstrap_intervals(probability, label, torch.zeros(3, dtype=torch.int64))
    assert all(not math.isnan(interval.value) for interval in intervals.values())
    assert all(math.isnan(interval.low) and math.isnan(interval.high) for interval in intervals.values())


def test_the_interval_of_the_calibration_error_holds_its_value():
    outside = 0
    for seed in range(40):
        generator = torch.Generator().manual_seed(seed)
        probability = torch.rand(100, generator=generator)
        label = (torch.rand(100, generator=generator) < probability).double()
        error = bootstrap_intervals(probability, label, torch.arange(100), num_replicates=200)["calibration_error"]
        outside += not error.low <= error.value <= error.high
    assert outside <= 2


def in_folds(seed, repeats):
    """Repeats of the same rows: subjects of unequal size in three folds of unequal size, other scores each time."""
    generator = np.random.default_rng(seed)
    subject, label = np.sort(generator.integers(40, size=160)), generator.integers(2, size=160)
    fold = np.digitize(subject, [8, 22])
    scores = [np.clip(generator.normal(0.4 + 0.2 * label, 0.25), 0, 1) for _ in range(repeats)]
    columns = [np.concatenate(scores), *(np.tile(column, repeats) for column in (label, subject, fold))]
    return [torch.from_numpy(column) for column in (*columns, np.repeat(np.arange(repeats), 160))]


def slow_averages(data, num_replicates, seed):
    """Every repeat draws the same subjects, fold after fold; literal rows scored by scikit-learn, then averaged."""
    probability, label, subject, fold, repeat = data
    parts = []
    for again in repeat.unique():
        generator = np.random.default_rng(seed)
        for number in fold.unique():
            rows = (repeat == again) & (fold == number)
            names, dense = np.unique(subject[rows].numpy(), return_inverse=True)
            counts = bootstrap.draw_counts(generator, num_replicates, len(names)).long().numpy()
            drawn = [np.repeat(np.arange(int(rows.sum())), count[dense]) for count in counts]
            score, truth = probability[rows].numpy(), label[rows].numpy()
            parts.append([sklearn_metrics.roc_auc_score(truth[chosen], score[chosen]) for chosen in drawn])
    return np.mean(parts, axis=0)


@pytest.mark.parametrize("repeats", [1, 3])
def test_averages_over_folds_and_repeats_equal_a_slow_loop(repeats):
    data = in_folds(seed=1, repeats=repeats)
    probability, label, _, fold, repeat = data
    ours = bootstrap_intervals(*data[:3], fold=fold, repeat=repeat, num_replicates=SLOW, seed=4, level=0.9)["auroc"]
    expected = slow_averages(data, num_replicates=SLOW, seed=4)
    assert (ours.low, ours.high) == pytest.approx(tuple(np.quantile(expected, [0.05, 0.95])), abs=1e-12)
    parts = [(fold == number) & (repeat == again) for number in range(3) for again in range(repeats)]
    values = [functional.auroc(probability[part], label[part]) for part in parts]
    assert ours.value == pytest.approx(np.mean(values))
    assert (ours.num_parts, ours.num_defined) == (3 * repeats, SLOW)


def test_one_fold_is_the_whole_and_a_repeat_of_the_same_scores_changes_nothing():
    probability, label, subject = mixed(seed=3, levels=10)
    plain = bootstrap_intervals(probability, label, subject, num_replicates=50)
    same = torch.full((150,), 4)
    assert bootstrap_intervals(probability, label, subject, fold=same, repeat=same, num_replicates=50) == plain
    twice = [torch.cat([column, column]) for column in (probability, label, subject)]
    repeat = torch.arange(300) // 150
    again = bootstrap_intervals(*twice, repeat=repeat, num_replicates=50)
    for name, interval in plain.items():
        assert again[name].num_parts == 2
        assert (again[name].value, again[name].low, again[name].high) == pytest.approx(
            (interval.value, interval.low, interval.high), abs=1e-12
        )


def test_folds_and_repeats_do_not_depend_on_the_order_of_the_rows():
    data = in_folds(seed=2, repeats=2)
    order = torch.randperm(len(data[0]), generator=torch.Generator().manual_seed(1))
    first, again = (
        bootstrap_intervals(*rows[:3], fold=rows[3], repeat=rows[4], num_replicates=50)
        for rows in (data, [column[order] for column in data])
    )
    assert again == first


def test_a_fold_with_one_class_is_left_out_of_the_mean_and_counted():
    probability, label, subject, fold, _ = in_folds(seed=5, repeats=1)
    label = label.where(fold != 1, 0)
    ours = bootstrap_intervals(probability, label, subject, fold=fold, num_replicates=60)
    kept = [functional.auroc(probability[fold == number], label[fold == number]) for number in (0, 2)]
    assert ours["auroc"].value == pytest.approx(np.mean(kept))
    assert (ours["auroc"].num_parts, ours["brier"].num_parts) == (2, 3)
    assert ours["auroc"].low < ours["auroc"].value < ours["auroc"].high


def test_a_fold_of_one_subject_has_a_value_and_takes_the_interval_away():
    probability, label, subject, fold, _ = in_folds(seed=6, repeats=1)
    label = label.where(fold != 0, 1)  # its AUROC is undefined, its Brier score is not
    subject = subject.where(fold != 0, 0)
    ours = bootstrap_intervals(probability, label, subject, fold=fold, num_replicates=60)
    assert not math.isnan(ours["brier"].value)
    assert math.isnan(ours["brier"].low)
    assert ours["auroc"].low < ours["auroc"].high


def test_refuses_repeats_of_other_subjects():
    data = in_folds(seed=7, repeats=2)
    data[2][0] += 1000
    with pytest.raises(AssertionError, match="hold different subjects"):
        bootstrap_intervals(*data[:3], fold=data[3], repeat=data[4], num_replicates=5)
    with pytest.raises(AssertionError, match="fold has the shape"):
        bootstrap_intervals(*data[:3], fold=data[3][:5], num_replicates=5)


def baselines(seed, levels=10**9):
    """Two methods that see the same signal, each with a little noise of its own."""
    probability, label, subject = mixed(seed, levels=10**9)
    noise = np.random.default_rng(seed + 100).normal(size=(2, 150)) * 0.05
    first, second = (
        torch.from_numpy(np.round(np.clip(probability.numpy() + part, 0, 1) * levels) / levels) for part in noise
    )
    return first, second, label, subject


@pytest.mark.parametrize("levels", [4, 10**9])
def test_a_paired_difference_equals_a_slow_loop_over_the_same_replicated_rows(levels, monkeypatch):
    monkeypatch.setattr(cells, "FEW", 0)
    first, second, label, subject = baselines(7, levels)
    expected = np.array(list(slow_replicates(first, label, subject, num_replicates=SLOW, seed=5)))
    expected -= np.array(list(slow_replicates(second, label, subject, num_replicates=SLOW, seed=5)))
    error = bootstrap.RESAMPLED.index("calibration_error")
    errors = [calibration.calibration_error(parts_of(column, label, subject), 1.96)[0] for column in (first, second)]
    value = errors[0] - errors[1]
    expected[:, error] -= expected[:, error].mean() - value
    ours = paired_difference(first, second, label, subject, num_replicates=SLOW, seed=5, level=0.9)
    assert ours["calibration_error"].value == pytest.approx(value)
    scores = [sklearn_metrics.roc_auc_score(label, column) for column in (first, second)]
    assert ours["auroc"].value == pytest.approx(scores[0] - scores[1])
    for column, name in enumerate(bootstrap.RESAMPLED):
        low, high = np.quantile(expected[:, column], [0.05, 0.95])
        if column == error:
            assert ours[name].method == "recovered"
            assert ours[name].low <= low < high <= ours[name].high
            continue
        assert (ours[name].low, ours[name].high) == pytest.approx((low, high), abs=1e-12)
        assert ours[name].num_defined == SLOW


def test_the_pair_is_much_tighter_than_two_separate_intervals_where_scores_go_together():
    first, second, label, subject = baselines(8)
    pair = paired_difference(first, second, label, subject, num_replicates=400)
    alone = [bootstrap_intervals(column, label, subject, num_replicates=400) for column in (first, second)]
    for name in ("auroc", "average_precision", "brier"):
        separate = math.hypot(*(entry[name].high - entry[name].low for entry in alone))
        assert pair[name].high - pair[name].low < 0.5 * separate, name


def test_a_paired_difference_turns_its_sign_with_the_order_and_draws_within_folds():
    first, second, label, subject = baselines(9)
    folds = {"fold": subject % 3, "repeat": torch.zeros(150, dtype=torch.int64)}
    there = paired_difference(first, second, label, subject, num_replicates=100, **folds)
    back = paired_difference(second, first, label, subject, num_replicates=100, **folds)
    alone = [cells.metric_intervals(column, label, subject, num_replicates=1, **folds) for column in (first, second)]
    for name, interval in there.items():
        ends = -back[name].high, -back[name].low
        assert (interval.low, interval.high) == pytest.approx(ends, nan_ok=name == "average_precision")
        assert interval.value == pytest.approx(alone[0][name].value - alone[1][name].value)
        assert interval.num_parts == 3


def test_columns_of_another_shape_are_refused():
    probability, label, subject = mixed(seed=0, levels=5)
    with pytest.raises(AssertionError, match="subject has the shape"):
        paired_difference(probability, probability, label, subject[:3])


@pytest.mark.parametrize("levels", [6, 10**9])
def test_replicates_are_those_of_float64_weights_of_all_rows_bit_by_bit(levels):
    probability, label, subject = mixed(seed=11, levels=levels)
    ours = bootstrap.draw(probability, label, subject, None, None, num_replicates=300, seed=2).replicates.numpy()
    names, dense = np.unique(subject.numpy(), return_inverse=True)
    counts = bootstrap.draw_counts(np.random.default_rng(2), 300, len(names)).numpy()
    order = np.lexsort((dense, label.numpy(), -probability.numpy()))
    risk, truth = probability.numpy()[order], label.numpy()[order] > 0
    last = np.searchsorted(-risk, -np.unique(risk[truth])[::-1], "right") - 1
    for number, count in enumerate(counts):
        weight = count[dense][order]
        positive, negative = np.cumsum(weight * truth), np.cumsum(weight * ~truth)
        equal = np.searchsorted(-risk, -risk, "left")
        above = np.where(equal > 0, negative[equal - 1], 0.0)
        below = negative[np.searchsorted(-risk, -risk, "right") - 1]
        pairs = positive[-1] * negative[-1]
        lost = (weight * truth * (above + below) / 2).sum()
        assert ours[number, 0] == (pairs - lost) / pairs
        found = positive[last]
        steps = np.diff(found, prepend=0) * found / np.maximum(found + negative[last], 1)
        assert ours[number, 1] == steps.sum() / positive[-1]


def test_predictions_on_one_draw_have_the_numbers_that_each_has_alone():
    data = in_folds(seed=3, repeats=2)
    second = data[0].sqrt()
    label, subject, fold, repeat = data[1:]
    samples = [bootstrap.samples_of(one, label, subject, fold, repeat) for one in (data[0], second)]
    shared = bootstrap.draw_each(samples, num_replicates=40, seed=7)
    for one, found in zip((data[0], second), shared, strict=True):
        alone = bootstrap.draw(one, label, subject, fold, repeat, num_replicates=40, seed=7)
        for name in ("values", "replicates", "num_parts"):
            assert torch.equal(getattr(found, name), getattr(alone, name))


@pytest.mark.parametrize("num_subjects", [40, 80, 500], ids=["few", "drawn", "many"])
def test_several_predictions_are_scored_on_replicates_that_are_drawn_once(num_subjects, monkeypatch):
    first, label, subject = clustered(num_subjects, 2, seed=1)
    second = torch.from_numpy(np.random.default_rng(2).uniform(size=len(first)))
    fold = subject % 2
    drawn, drawing = [], bootstrap._drawn

    def counted(generator, num_replicates, subjects):
        drawn.append(num_replicates)
        return drawing(generator, num_replicates, subjects)

    monkeypatch.setattr(bootstrap, "_drawn", counted)
    settings = {"fold": fold, "num_replicates": 50, "seed": 3}
    apart = [cells.metric_intervals(one, label, subject, **settings) for one in (first, second)]
    each = len(drawn)
    together = cells.intervals_of_each([first, second], label, subject, **settings)
    assert together == apart
    assert 2 * (len(drawn) - each) == each
    assert sum(drawn[each:]) == {40: 2, 80: 100, 500: 0}[num_subjects]
