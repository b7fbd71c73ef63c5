"""Public subgroups, decision curves and label counts: nothing of a hidden cell, and no small part of a division."""

from dataclasses import replace
from typing import Any

import pytest

from mmnar_lightning.evaluation.breakdown import (
    MASKED_LABELS,
    DecisionCurve,
    Gap,
    LabelAvailability,
    LabelCounts,
    NetBenefit,
    Subgroups,
    SubgroupScores,
)
from mmnar_lightning.evaluation.cell import MASKED, Cell, Reliability, Score, TaskScores
from mmnar_lightning.evaluation.results import Results
from mmnar_lightning.evaluation.results_json import from_json, to_json
from mmnar_lightning.report.public import public
from tests.helpers.results import results_of
from tests.unit.report.test_public import numbers

MIN_COUNT = 10
LEVELS = {"female": (180, 61), "male": (160, 52), "other": (41, 3)}
HOSPITALS = {"771": (200, 60), "772": (150, 52), "773": (31, 4)}
UNKNOWN = {"11": (250, 0), "10": (130, 17), "01": (60, 3)}


def score(value: float) -> Score:
    return Score(value=value, low=value - 0.0123456, high=value + 0.0123456, method="bootstrap", num_defined=0)


def cell(rows: int, positives: int, **others: Any) -> Cell:
    auroc = score(rows / 1013 + positives / 100_003)
    return replace(MASKED, count=rows, positives=positives, subjects=rows, auroc=auroc, **others)


def gap(higher: str, lower: str, value: float) -> Gap:
    return Gap(higher=higher, lower=lower, difference=score(value), num_levels=3)


def subgroups(levels: dict[str, tuple[int, int]], gaps: dict[str, Gap]) -> Subgroups:
    cells = {name: cell(*counts) for name, counts in levels.items()}
    both = SubgroupScores(levels=cells, pooled=None, gaps=gaps)
    return Subgroups(min_rows=MIN_COUNT, tasks={"death": both})


def curve(points: list[tuple[float, int, int]]) -> DecisionCurve:
    return DecisionCurve(
        count=381,
        positives=116,
        points=[
            NetBenefit(
                threshold=threshold,
                model=score((true - threshold / (1 - threshold) * false) / 381),
                treat_all=score(0.1234567),
                true_positives=true,
                false_positives=false,
            )
            for threshold, true, false in points
        ],
    )


def whole(**content: Any) -> Results:
    total = cell(381, 116, reliability=None)
    return results_of(tasks={"death": TaskScores(all=total, patterns={"11": cell(381, 116)})}, **content)


def test_hidden_levels_and_their_gaps_are_left_out_with_the_level_that_they_would_follow_from() -> None:
    gaps = {"auroc": gap("female", "male", 0.3), "calibration_intercept": gap("male", "other", 0.2)}
    gaps |= {"brier": gap("female", "other", 0.123456), "observed_expected": gap("other", "male", 0.654321)}
    found = {"sex": subgroups(LEVELS, gaps)}
    results = whole(subgroups=found)
    shown = public(results, MIN_COUNT)
    own = shown.subgroups["sex"].tasks["death"]
    assert list(own.levels) == ["female"], "other is small, and would follow from male and the total"
    assert own.gaps == {}
    assert not {0.123456, 0.654321} & set(numbers(to_json(shown)))
    hidden = set(numbers(to_json([LEVELS["male"], LEVELS["other"], found["sex"].tasks["death"].levels["male"]])))
    assert not {value for value in hidden if value not in {0, 116}} & set(numbers(to_json(shown)))
    assert from_json(Results, to_json(shown)) == shown


def test_a_gap_between_levels_that_are_shown_is_shown() -> None:
    levels = {"female": (200, 61), "male": (181, 55)}
    found = {"sex": subgroups(levels, {"auroc": gap("female", "male", 0.3)})}
    shown = public(whole(subgroups=found), MIN_COUNT)
    assert shown.subgroups == found


def test_hospitals_have_numbers_in_levels_and_gaps() -> None:
    levels = {"771": (200, 60), "772": (181, 56)}
    shown = public(whole(subgroups={"hospital": subgroups(levels, {"auroc": gap("772", "771", 0.3)})}), MIN_COUNT)
    own = shown.subgroups["hospital"].tasks["death"]
    assert list(own.levels) == ["1", "2"]
    assert (own.gaps["auroc"].higher, own.gaps["auroc"].lower) == ("2", "1")
    assert "77" not in str(dict.fromkeys(own.levels, own.gaps))


POINTS = [(0.1, 112, 240), (0.2, 100, 180), (0.3, 93, 150), (0.4, 80, 120), (0.6, 40, 60), (0.8, 12, 3), (0.9, 0, 0)]


def test_thresholds_that_cut_off_few_rows_of_a_class_are_left_out_and_nothing_is_counted() -> None:
    shown = public(whole(net_benefit={"death": curve(POINTS)}), MIN_COUNT).net_benefit["death"]
    # 112 leaves 4 of 116 positives below, 93 is 7 from 100, and 3 negatives are few.
    assert [point.threshold for point in shown.points] == [0.2, 0.4, 0.6, 0.9]
    for point in shown.points:
        assert (point.true_positives, point.false_positives) == (None, None)
        for one in (point.model, point.treat_all):
            assert [one.value, one.low, one.high] == [round(end, 3) for end in (one.value, one.low, one.high)]


def test_thresholds_and_the_bins_of_the_reliability_curve_are_one_division() -> None:
    bins = Reliability(mean_probability=[0.1, 0.5], observed_rate=[31 / 255, 85 / 126], count=[255.0, 126.0])
    total = cell(381, 116, reliability=bins)  # the upper bin: 85 positives, 41 negatives
    results = replace(whole(net_benefit={"death": curve([(0.3, 100, 180), (0.5, 80, 60), (0.6, 60, 20)])}))
    tasks = {"death": TaskScores(all=total, patterns={"11": cell(381, 116)})}
    shown = public(replace(results, tasks=tasks), MIN_COUNT)
    assert [point.threshold for point in shown.net_benefit["death"].points] == [0.3, 0.6]
    assert len(public(results, MIN_COUNT).net_benefit["death"].points) == 3
    again = public(replace(results, rectified=tasks), MIN_COUNT).net_benefit["death"]
    assert len(again.points) == 2, "the prediction after the rectifier is the one of the curve"


def test_numbers_of_known_labels_are_hidden_with_the_pattern_that_they_would_follow_from() -> None:
    patterns = {
        name: LabelCounts(rows=rows, known=rows - lost, share=1 - lost / rows) for name, (rows, lost) in UNKNOWN.items()
    }
    found = {"death": LabelAvailability(all=LabelCounts(rows=440, known=420, share=42 / 44), patterns=patterns)}
    cells = {name: cell(rows - lost, 40) for name, (rows, lost) in UNKNOWN.items()}
    tasks = {"death": TaskScores(all=cell(420, 120), patterns=cells)}
    results = results_of(tasks=tasks, label_availability=found)
    shown = public(results, MIN_COUNT).label_availability["death"]
    assert shown.all == found["death"].all
    assert shown.patterns == {"11": patterns["11"], "10": MASKED_LABELS, "01": MASKED_LABELS}
    fold = public(results, MIN_COUNT, totals_only=True)
    assert set(fold.label_availability["death"].patterns.values()) == {MASKED_LABELS}


def test_a_fold_has_neither_subgroups_nor_a_curve_and_a_hidden_task_nothing() -> None:
    content: dict[str, Any] = {
        "subgroups": {"sex": subgroups(LEVELS, {}), "hospital": subgroups(HOSPITALS, {})},
        "net_benefit": {"death": curve(POINTS)},
        "label_availability": {
            "death": LabelAvailability(all=LabelCounts(rows=381, known=381, share=1.0), patterns={})
        },
    }
    fold = public(whole(**content), MIN_COUNT, totals_only=True)
    assert (fold.subgroups, fold.net_benefit) == (None, None)
    withheld = public(whole(**content), MIN_COUNT, withheld=["death"])
    assert withheld.net_benefit == {}
    assert withheld.label_availability == {}
    assert {name: found.tasks for name, found in withheld.subgroups.items()} == {"sex": {}, "hospital": {}}


@pytest.mark.parametrize("field", ["subgroups", "net_benefit", "label_availability"])
def test_results_of_an_earlier_schema_have_none(field: str) -> None:
    assert getattr(public(whole(), MIN_COUNT), field) is None
