"""Scores by subgroup, decision curves and label counts of test rows."""

import polars as pl
import pytest
import torch

from mmnar_lightning.evaluation.scores import Scoring, score, score_groups
from mmnar_lightning.evaluation.subgroups import decision_curves, label_availability, score_subgroups
from mmnar_lightning.outputs import ScoredRows
from tests.helpers.results import scored_rows

SCORING = Scoring(num_replicates=100, seed=0, min_count=10)
TASKS = ["death", "stay"]
NUM_ROWS = 240
SEX = pl.Series("subgroup/sex", [("female", "male", None)[row % 3] for row in range(NUM_ROWS)])
RACE = pl.Series("subgroup/race", ["asian"] * 4 + ["black"] * 5 + ["white"] * (NUM_ROWS - 9))


@pytest.fixture(scope="module")
def rows() -> ScoredRows:
    generator = torch.Generator().manual_seed(0)
    known = torch.ones(NUM_ROWS, 2, dtype=torch.bool)
    known[:30, 1] = False
    content = {
        "row_id": torch.arange(NUM_ROWS),
        "pattern": torch.where(torch.arange(NUM_ROWS) % 5 == 0, 1, 3),
        "probability": torch.rand(NUM_ROWS, 2, generator=generator, dtype=torch.float64),
        "label": torch.randint(2, (NUM_ROWS, 2), generator=generator).double(),
        "label_mask": known,
    }
    return scored_rows(content, torch.arange(NUM_ROWS) // 2)


def test_a_level_has_the_scores_of_its_rows_alone(rows: ScoredRows) -> None:
    found = score_subgroups(rows, pl.DataFrame([SEX]), TASKS, SCORING)["sex"]
    assert found.min_rows == SCORING.min_count
    for task in TASKS:
        by_level = found.tasks[task]
        assert set(by_level.levels) == {"female", "male", "unknown"}
        assert by_level.pooled is None
        for name, cell in by_level.levels.items():
            own = torch.tensor((SEX.fill_null("unknown") == name).to_list())
            assert cell == score(rows.select(own), TASKS, [3, 1], SCORING)[task].all


def test_the_gap_is_that_of_the_scores_and_unknown_is_not_compared(rows: ScoredRows) -> None:
    found = score_subgroups(rows, pl.DataFrame([SEX]), TASKS, SCORING)["sex"].tasks["death"]
    assert set(found.gaps) == {"auroc", "brier", "observed_expected", "calibration_intercept"}
    for metric in found.gaps:
        gap = found.gaps[metric]
        assert {gap.higher, gap.lower} == {"female", "male"}
        higher, lower = (found.levels[name].score(metric).value for name in (gap.higher, gap.lower))
        assert higher > lower
        assert gap.difference.value == pytest.approx(higher - lower)
        assert gap.difference.low < gap.difference.value < gap.difference.high


def test_small_levels_are_pooled_and_a_single_level_has_no_gap(rows: ScoredRows) -> None:
    found = score_subgroups(rows, pl.DataFrame([SEX, RACE]), TASKS, SCORING)
    assert list(found) == ["sex", "race"]
    by_level = found["race"].tasks["death"]
    assert list(by_level.levels) == ["white"]
    assert (by_level.pooled.count, by_level.pooled.groups) == (9, 2)
    assert list(by_level.cells) == ["white", "pooled"]
    assert by_level.gaps == {}
    assert found["race"].tasks["stay"].pooled is None, "no label of theirs is known"


def test_an_attribute_that_is_a_group_has_the_same_cells(rows: ScoredRows) -> None:
    groups = score_groups(rows, SEX, TASKS, SCORING)
    found = score_subgroups(rows, pl.DataFrame([SEX]), TASKS, SCORING)["sex"]
    assert {task: own.groups for task, own in groups.items()} == {task: own.levels for task, own in found.tasks.items()}


def test_a_decision_curve_is_of_the_rows_with_a_known_label(rows: ScoredRows) -> None:
    found = decision_curves(rows, TASKS)
    assert [found[task].count for task in TASKS] == [NUM_ROWS, NUM_ROWS - 30]
    known = rows.label_mask[:, 1]
    label, probability = rows.label[known, 1], rows.probability[known, 1]
    assert found["stay"].positives == int(label.sum())
    for point in found["stay"].points:
        treated = probability >= point.threshold
        assert point.true_positives == int(label[treated].sum())
        odds = point.threshold / (1 - point.threshold)
        expected = (point.true_positives - odds * point.false_positives) / len(label)
        assert point.model.value == pytest.approx(expected)
        assert point.model.low <= point.model.value <= point.model.high


def test_labels_are_counted_by_task_and_pattern(rows: ScoredRows) -> None:
    found = label_availability(rows, TASKS, [3, 1, 2])
    assert found["death"].all.share == 1
    assert (found["stay"].all.rows, found["stay"].all.known) == (NUM_ROWS, NUM_ROWS - 30)
    patterns = found["stay"].patterns
    assert {name: (own.rows, own.known) for name, own in patterns.items()} == {
        "11": (192, 168), "10": (48, 42), "01": (0, 0),
    }  # fmt: skip
    assert (patterns["10"].share, patterns["01"].share) == (42 / 48, None)
