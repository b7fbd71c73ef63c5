"""The estimate of the offsets against a slow reference, its rules of inheritance, and the truth of a simulation."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from scipy.special import expit

from data_modules.simulate.config import SimulateConfig
from data_modules.simulate.latent import World, draw, solve
from mmnar_lightning.rectifier.estimate import Minimum, Rows, estimate
from tests.helpers.rectifier_worlds import MINIMUM, MODALITIES, as_dicts, drawn
from tests.helpers.reference_rectifier import hierarchy

SHARES = {
    "even": None,
    "skewed": [0.03, 0.4, 0.2, 0.01, 0.02, 0.14, 0.1, 0.1],
    "without the empty and another": [0, 0.3, 0.2, 0, 0.2, 0.1, 0.1, 0.1],
}


@pytest.mark.parametrize("share", SHARES)
@pytest.mark.parametrize("effect", [0.0, 0.8])
def test_equals_the_reference_node_by_node(share: str, effect: float) -> None:
    columns = drawn(seed=3, effect=effect, share=SHARES[share])
    found = estimate(Rows.of(*columns), MODALITIES, 3, MINIMUM)
    expected = hierarchy(as_dicts(*columns), MODALITIES, 3, MINIMUM)
    for name, (nodes, spread) in expected.items():
        level = getattr(found, name)
        assert level.spread == pytest.approx(spread, rel=1e-9, abs=1e-12)
        for node, entry in nodes.items():
            for key in ("offset", "variance", "raw"):
                reported = (name, node, key)
                assert getattr(level, key)[node] == pytest.approx(entry[key], abs=1e-9, nan_ok=True), reported
            assert level.estimated[node] == entry["estimated"]
            assert level.rows[node] == entry["rows"]


def test_the_method_of_moments_finds_a_spread_where_there_is_one() -> None:
    found = estimate(Rows.of(*drawn(seed=3, num_subjects=3000, effect=0.8)), MODALITIES, 3, MINIMUM)
    assert found.pattern.spread > 0.05
    nothing = estimate(Rows.of(*drawn(seed=3, num_subjects=3000, effect=0.0)), MODALITIES, 3, MINIMUM)
    assert nothing.pattern.spread < 0.05


def of_one_pattern(positives: int, negatives: int, pattern: int = 1) -> tuple[np.ndarray, ...]:
    """So many rows of a pattern with an offset of its own, beside a large group of the other patterns of its count."""
    label = np.concatenate([np.repeat([1.0, 0.0], [positives, negatives]), np.tile([1.0, 0.0], 200)])
    place = np.concatenate([np.full(positives + negatives, pattern), np.repeat([2, 4], 200)])
    return np.zeros(len(label)), label, np.arange(len(label)), place


# A minimum that something misses by one, and the rows of the pattern: positives, negatives.
@pytest.mark.parametrize(
    ("minimum", "counts"),
    [
        (Minimum(rows=31, class_rows=1), (20, 10)),
        (Minimum(rows=1, class_rows=11), (10, 20)),
        (Minimum(rows=1, class_rows=11), (20, 10)),
    ],
)
def test_a_pattern_that_misses_a_minimum_by_one_inherits_and_one_that_meets_it_does_not(minimum, counts) -> None:
    met = Minimum(rows=min(minimum.rows, 30), class_rows=min(minimum.class_rows, 10))
    rows = Rows.of(*of_one_pattern(*counts))
    missed, found = (estimate(rows, MODALITIES, 3, least) for least in (minimum, met))
    assert not missed.pattern.estimated[1]
    assert missed.pattern.offset[1] == missed.count.offset[1]
    assert missed.pattern.variance[1] == missed.count.variance[1]
    assert np.isnan(missed.pattern.raw[1])
    assert found.pattern.estimated[1]
    assert found.pattern.raw[1] == pytest.approx(np.log(counts[0] / counts[1]))


@pytest.mark.parametrize("pattern", [0, 7])
def test_the_empty_and_the_full_pattern_are_the_level_of_their_count(pattern: int) -> None:
    rows = Rows.of(*of_one_pattern(60, 15, pattern))
    found = estimate(rows, MODALITIES, 3, MINIMUM)
    count = MODALITIES[pattern]
    assert found.count.estimated[count]
    assert found.count.offset[count] != found.overall.offset[0]
    assert not found.pattern.estimated[pattern]
    assert found.pattern.offset[pattern] == found.count.offset[count]
    assert found.pattern.rows[pattern] == 75
    assert found.pattern.raw[pattern] == pytest.approx(np.log(4))


def test_a_level_without_spread_inherits_exactly() -> None:
    size = 800  # every pattern has the same rows, so nothing differs but by the order of sums
    label, pattern = np.tile([1.0, 0.0, 0.0, 0.0], size), np.repeat(np.arange(8), size // 2)
    found = estimate(Rows.of(np.zeros(4 * size), label, np.arange(4 * size), pattern), MODALITIES, 3, MINIMUM)
    assert found.count.spread == found.pattern.spread == 0
    assert found.pattern.estimated[[1, 2, 3, 4, 5, 6]].all()
    assert (found.pattern.offset == found.overall.offset[0]).all()
    assert found.overall.offset[0] < -0.1
    assert (found.pattern.variance == found.overall.variance[0]).all()


def test_the_order_of_the_rows_changes_no_bit() -> None:
    columns = drawn(seed=3)
    order = np.random.default_rng(0).permutation(len(columns[0]))
    first, second = (
        estimate(Rows.of(*given), MODALITIES, 3, MINIMUM) for given in (columns, [column[order] for column in columns])
    )
    assert first.pattern.offset.tobytes() == second.pattern.offset.tobytes()
    assert first.pattern.variance.tobytes() == second.pattern.variance.tobytes()


def test_without_a_known_label_everything_is_zero() -> None:
    nothing = np.zeros(0)
    rows = Rows.of(nothing, nothing, np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64))
    found = estimate(rows, MODALITIES, 3, MINIMUM)
    for level in (found.overall, found.count, found.pattern):
        assert not level.offset.any()
        assert not level.estimated.any()


def test_rows_of_one_subject_count_as_less_than_rows_of_many() -> None:
    logit, label, subject, pattern = drawn(seed=5, num_subjects=600, effect=0.8)
    many = estimate(Rows.of(logit, label, np.arange(len(label)), pattern), MODALITIES, 3, MINIMUM)
    copies = [np.tile(column, 4) for column in (logit, label, subject, pattern)]
    few = estimate(Rows.of(*copies), MODALITIES, 3, MINIMUM)
    once = estimate(Rows.of(logit, label, subject, pattern), MODALITIES, 3, MINIMUM)
    # Four copies of a subject's rows say nothing new: moments and variances are those of one copy.
    assert few.count.spread == pytest.approx(once.count.spread, rel=0.1, abs=1e-3)
    assert few.pattern.variance == pytest.approx(once.pattern.variance, rel=0.25)
    assert many.pattern.rows.sum() == once.pattern.rows.sum()


def test_far_logits_neither_overflow_nor_stop_the_search() -> None:
    logit, label, subject, pattern = drawn(seed=7)
    logit = np.where(np.arange(len(logit)) % 2, 30.0, -30.0)
    found = estimate(Rows.of(logit, label, subject, pattern), MODALITIES, 3, MINIMUM)
    expected = hierarchy(as_dicts(logit, label, subject, pattern), MODALITIES, 3, MINIMUM)
    assert found.overall.offset[0] == pytest.approx(expected["overall"][0][0]["offset"], abs=1e-6)


@pytest.fixture(scope="module")
def world() -> World:
    return solve(SimulateConfig())


def of_the_simulator(world: World, count: int, seed: int) -> list[Rows]:
    """Rows of the same patients for each task; their logits are those of the truth without τ."""
    patients = draw(world, count, np.random.default_rng(seed))
    logit = world.outcome_logit(patients.health, patients.worry, patients.pattern)
    base = logit - world.pattern_effect.T[patients.pattern]
    outcome = patients.outcome.astype(float)
    return [Rows.of(base[:, task], outcome[:, task], np.arange(count), patients.pattern) for task in range(3)]


@pytest.fixture(scope="module")
def several(world: World) -> list[list[Rows]]:
    """Eight draws of 20,000 patients."""
    return [of_the_simulator(world, 20_000, seed) for seed in range(8)]


@pytest.mark.parametrize("task", [0, 1, 2])
def test_raw_offsets_are_the_truth_of_the_simulator_within_two_standard_errors(
    world: World, several: list[list[Rows]], task: int
) -> None:
    truth, errors = world.pattern_effect[task], []
    for tasks in several:
        rows = tasks[task]
        level = estimate(rows, MODALITIES, 3, MINIMUM).pattern
        probability = expit(rows.logit + truth[rows.pattern])
        information = np.bincount(rows.pattern, probability * (1 - probability), 8)
        errors.append(np.where(level.rows >= 200, (level.raw - truth) * np.sqrt(information), np.nan))
        assert (level.rows >= 200).sum() >= 7
    found = np.stack(errors)
    standard = found[~np.isnan(found)]
    counted = (~np.isnan(found)).sum(0)
    common = counted == len(found)
    assert abs(standard.mean()) < 2 / np.sqrt(len(standard)), "no bias"
    assert 0.75 < standard.std() < 1.25, "the errors are as large as they should be"
    assert (np.abs(found[:, common].mean(0)) < 3 / np.sqrt(len(found))).all(), "nor in any pattern"


def squared_errors(worlds: Sequence[World], count: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean squared error of raw and of shrunk offsets, (worlds, T) each."""
    raw, shrunk = np.zeros((2, len(worlds), 3))
    for seed, world in enumerate(worlds):
        drawn = of_the_simulator(world, count, seed)
        for task, (rows, truth) in enumerate(zip(drawn, world.pattern_effect, strict=True)):
            level = estimate(rows, MODALITIES, 3, MINIMUM).pattern
            known = ~np.isnan(level.raw)
            raw[seed, task] = np.square(level.raw - truth)[known].mean()
            shrunk[seed, task] = np.square(level.offset - truth)[known].mean()
    return raw, shrunk


def test_shrunk_offsets_are_closer_to_the_truth_of_the_simulator_than_raw_ones(world: World) -> None:
    """20,000 rows, where little is left to shrink: no task may lose, and all together must gain."""
    raw, shrunk = squared_errors([world] * 20, 20_000)
    assert (shrunk.mean(0) < 1.02 * raw.mean(0)).all()
    assert shrunk.mean() < 0.98 * raw.mean()


@pytest.mark.parametrize(("tau", "share"), [(0.0, 0.35), (0.3, 0.75), (0.5, 0.95)])
def test_shrunk_offsets_are_closer_than_raw_ones_where_rows_are_few(world: World, tau: float, share: float) -> None:
    """Over truths of a spread; 0.5 is the simulator's own."""
    generator = np.random.default_rng(0)
    worlds = [replace(world, pattern_effect=tau * generator.standard_normal((3, 8))) for _ in range(30)]
    raw, shrunk = squared_errors(worlds, 1500)
    assert shrunk.mean() < share * raw.mean()


def test_rows_of_one_subject_are_no_node() -> None:
    """Their residuals sum to zero at their own mean: no spread between subjects could be estimated from them."""
    label, subject = np.tile([1.0, 0.0], 200), np.arange(400)
    alone = Rows.of(
        np.zeros(440),
        np.append(label, np.tile([1.0, 0, 0, 0], 10)),
        np.append(subject, np.full(40, 400)),
        np.append(np.tile([3, 5], 200), np.full(40, 6)),
    )
    found = estimate(alone, MODALITIES, 3, MINIMUM)
    assert (found.pattern.estimated[6], found.pattern.offset[6]) == (False, found.count.offset[2])
