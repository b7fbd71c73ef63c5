"""The public results hold no number of a hidden cell; results.json keeps all of them."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from typing import Any

import pytest

from mmnar_lightning.evaluation.results import (
    MASKED,
    BlendScores,
    Cell,
    Gain,
    Groups,
    GroupScores,
    Offset,
    OffsetTable,
    Reliability,
    Results,
    Risk,
    Score,
    SplitCounts,
    TaskRisks,
    TaskScores,
    Within,
)
from mmnar_lightning.evaluation.results_json import from_json, to_json
from mmnar_lightning.metrics.bootstrap import METRICS, RESAMPLED
from mmnar_lightning.report import public_cells
from mmnar_lightning.report.public import public
from tests.helpers.results import offset_of, results_of

MIN_COUNT = 1000
"""So large that every number here is of one cell alone."""
NUMBERS = count(1)
ROWS = {
    "death": {"11": (90_001, 40_003), "10": (20_011, 9_001), "01": (613, 311)},
    "rare": {"11": (90_000, 204), "10": (20_010, 112), "01": (612, 101)},
}
HIDDEN = {"death": {"10", "01"}, "rare": {"all", "11", "10", "01"}}
HOSPITALS = {"771": (60_007, 30_007), "772": (40_002, 18_868), "773": (10_009, 433), "pooled": (607, 7)}
FITTED = {"11": (5_003, 2_503), "10": (4_001, 2_003), "01": (701, 307)}


def total(cells: dict[str, tuple[int, int]]) -> tuple[int, int]:
    rows, positives = map(sum, zip(*cells.values(), strict=True))
    return rows, positives


def own_number() -> float:
    """A number that nothing else has."""
    return next(NUMBERS) / 1_000_003


def score() -> Score:
    return Score(value=own_number(), low=own_number(), high=own_number(), method="bootstrap", num_defined=0)


def cell(counts: tuple[int, int], **others: Any) -> Cell:
    rows, positives = counts
    curve = Reliability(mean_probability=[own_number()], observed_rate=[positives / rows], count=[rows])
    found: dict[str, Any] = {name: score() for name in METRICS}
    found |= {"count": rows, "positives": positives, "subjects": rows + 500_000, "reliability": curve, **others}
    return replace(MASKED, **found)


def scores() -> dict[str, TaskScores]:
    return {
        task: TaskScores(all=cell(total(cells)), patterns={label: cell(counts) for label, counts in cells.items()})
        for task, cells in ROWS.items()
    }


def gains(counts: dict[str, tuple[int, int]]) -> dict[str, Gain]:
    return {
        task: Gain(count=rows, positives=positives, subjects=rows + 500_000, **{name: score() for name in RESAMPLED})
        for task, (rows, positives) in counts.items()
    }


def offset(counts: tuple[int, int]) -> Offset:
    rows, positives = counts
    return offset_of(tau=own_number(), raw=own_number(), count=rows, positives=positives, subjects=rows + 500_000)


def risk(labelled: int) -> Risk:
    ends: dict[str, Any] = {name: own_number() for name in ("value", "low", "high")}
    return Risk(**ends, count=next(NUMBERS) + 200_000, labelled=labelled + 300_000)


def groups() -> Groups:
    large = {name: cell(counts) for name, counts in HOSPITALS.items() if name != "pooled"}
    pooled = cell(HOSPITALS["pooled"], groups=2)
    within = Within(groups=3, count=12_345, auroc=replace(score(), value=0.712345678))
    both = GroupScores(groups=large, pooled=pooled, within=within)
    return Groups(by="hospital", min_rows=MIN_COUNT, tasks={"death": both, "rare": both})


@pytest.fixture(scope="module")
def results() -> Results:
    """Results with every part that a run can have."""
    totals = {task: total(cells) for task, cells in ROWS.items()}
    return results_of(
        checkpoint={"epoch": 3, "step": 40, "rows_without_prediction": 543},
        children=[{"name": "seed0", "seed": 0, "fold": None, "rectifier": {"death": 544}, "unseen_pattern_rows": 545}],
        split=SplitCounts(name="test", rows=total(ROWS["death"])[0], subjects=110_000),
        unseen_patterns=["01"],
        unseen_pattern_rows=ROWS["death"]["01"][0],
        diagnostics={
            "decision_tipping_point": {task: {label: own_number() for label in cells} for task, cells in ROWS.items()},
            "assignment": {"a": {"count": 546, "present": 547}},
            "parts": {"bins": to_json(gains({"death": (9_000, 4_000), "rare": (9_100, 548)}))},
            "new": 549,
        },
        tasks=scores(),
        rectified=scores(),
        carried=scores(),
        rectified_gain=gains(totals),
        recalibrated_gain=gains(totals),
        carried_gain=gains(totals),
        blend=BlendScores(
            tasks=scores(),
            trees={task: cell(own) for task, own in totals.items()},
            blend_minus_network=gains(totals),
            network_minus_trees=gains(totals),
        ),
        groups=groups(),
        rectifier={
            task: OffsetTable(
                scale="logit", strength=1.0, patterns={label: offset(own) for label, own in FITTED.items()}
            )
            for task in ROWS
        },
        mean_risk={
            task: TaskRisks(all=risk(7), patterns={label: risk(own[0]) for label, own in FITTED.items()})
            for task in ROWS
        },
    )


def numbers(content: Any) -> Iterator[float]:
    """Every number of nested values."""
    if isinstance(content, dict | list):
        for part in content.values() if isinstance(content, dict) else content:
            yield from numbers(part)
    elif isinstance(content, int | float) and not isinstance(content, bool):
        yield content


def secrets(results: Results) -> Iterator[Any]:
    """The parts of results.json that public results must not hold."""
    content = to_json(results)
    for scored in (*(content[name] for name in ("tasks", "rectified", "carried")), content["blend"]["tasks"]):
        for task, hidden in HIDDEN.items():
            cells = {"all": scored[task]["all"], **scored[task]["patterns"]}
            yield from (cells[name] for name in hidden)
    of_task = [content[name] for name in ("rectified_gain", "recalibrated_gain", "carried_gain", "mean_risk")]
    for found in (
        *of_task,
        *(content["blend"][name] for name in ("trees", "blend_minus_network", "network_minus_trees")),
    ):
        yield found["rare"]
    for task in ROWS:
        yield from (content["rectifier"][task]["patterns"][label] for label in ("10", "01"))
        yield from (content["mean_risk"][task]["patterns"][label] for label in ("10", "01"))
    yield from ([risk["count"], risk["labelled"]] for risk in content["mean_risk"]["death"]["patterns"].values())
    yield content["groups"]["tasks"]["rare"]["within"]
    yield from (content["groups"]["tasks"]["death"]["groups"][name] for name in ("772", "773"))
    yield from (content["groups"]["tasks"]["death"][name] for name in ("pooled", "within"))
    diagnostics = content["diagnostics"]
    yield from (diagnostics["decision_tipping_point"]["death"][label] for label in ("10", "01"))
    yield [diagnostics["assignment"], diagnostics["new"], diagnostics["parts"]["bins"]["rare"]]
    yield diagnostics["decision_tipping_point"]["rare"]
    yield [content["unseen_pattern_rows"], content["checkpoint"]["rows_without_prediction"]]
    yield [content["children"][0]["rectifier"], content["children"][0]["unseen_pattern_rows"]]


HARMLESS = {0, 1, 2, 3}
"""Numbers of replicates, strengths and groups, which are no counts of rows."""


def test_no_number_of_a_hidden_cell_is_in_the_public_file(results: Results) -> None:
    hidden = set(numbers(list(secrets(results)))) - HARMLESS
    assert len(hidden) > 300
    assert hidden <= set(numbers(to_json(results)))
    for shown in (public(results, MIN_COUNT), public(replace(results_of(), target=results), MIN_COUNT)):
        assert not hidden & set(numbers(to_json(shown)))
        assert not [name for name in HOSPITALS if f"'{name}'" in str(to_json(shown)["tasks"])]


def test_what_is_shown_is_as_in_the_private_file(results: Results) -> None:
    shown = public(results, MIN_COUNT)
    assert (shown.masked_below, results.masked_below) == (MIN_COUNT, None)
    for name in ("tasks", "rectified", "carried"):
        before, after = getattr(results, name)["death"], getattr(shown, name)["death"]
        assert (after.all, after.patterns["11"]) == (before.all, before.patterns["11"])
        assert after.patterns["10"] == after.patterns["01"] == MASKED
        assert list(after.patterns) == list(before.patterns)
    assert shown.rectified_gain == {"death": results.rectified_gain["death"]}
    assert shown.rectifier["death"].patterns["11"] == results.rectifier["death"].patterns["11"]
    assert shown.mean_risk["death"].patterns.keys() == {"11"}
    assert shown.mean_risk["death"].all.value == results.mean_risk["death"].all.value
    assert shown.split == results.split
    assert shown.diagnostics["parts"]["bins"].keys() == {"death"}
    assert from_json(Results, to_json(shown)) == shown


def test_hospitals_have_numbers_instead_of_their_ids(results: Results) -> None:
    shown = public(results, MIN_COUNT).groups
    assert shown.tasks.keys() == {"death"}
    assert shown.tasks["death"].groups == {"1": results.groups.tasks["death"].groups["771"]}
    assert shown.tasks["death"].within.auroc.value == 0.71
    assert "77" not in str(list(shown.tasks["death"].groups))
    years = public(replace(results, groups=replace(results.groups, by="year group")), MIN_COUNT).groups
    assert years.tasks["death"].groups.keys() == {"771"}


def test_a_fold_shows_its_totals_alone(results: Results) -> None:
    shown = public(results, MIN_COUNT, totals_only=True)
    assert shown.tasks["death"].all == results.tasks["death"].all
    assert set(shown.tasks["death"].patterns.values()) == {MASKED}
    assert shown.groups is None
    assert not shown.mean_risk["death"].patterns
    assert {entry.count for entry in shown.rectifier["death"].patterns.values()} == {None}


def test_a_task_that_is_withheld_is_hidden_whole(results: Results) -> None:
    shown = public(results, MIN_COUNT, withheld=["death"])
    assert set(shown.tasks["death"].cells.values()) == {MASKED}
    assert not (shown.rectified_gain)
    assert not (shown.blend.trees)
    assert not (shown.groups.tasks)
    assert not (shown.mean_risk)


def test_few_rows_or_subjects_of_the_split_are_not_reported(results: Results) -> None:
    for few in (replace(results.split, rows=999), replace(results.split, subjects=999)):
        split = public(replace(results, split=few), MIN_COUNT).split
        assert (split.name, split.rows, split.subjects) == ("test", None, None)


def test_rows_of_unseen_patterns_are_shown_where_their_cells_are(results: Results) -> None:
    assert public(replace(results, unseen_patterns=["11"]), MIN_COUNT).unseen_pattern_rows == 613
    assert public(replace(results, unseen_patterns=[], unseen_pattern_rows=0), MIN_COUNT).unseen_pattern_rows == 0


@pytest.mark.parametrize(
    ("positives", "rows", "joined"),
    [
        ([5, 5, 5], [10, 10, 10], [(15, 30)]),
        ([2, 9, 20, 3], [30, 30, 40, 30], [(11, 60), (23, 70)]),
        ([0, 12, 12], [20, 30, 30], [(0, 20), (12, 30), (12, 30)]),
        ([0, 12, 3, 0], [20, 30, 30, 5], [(0, 20), (15, 65)]),
        ([12, 0, 3], [30, 20, 20], [(15, 70)]),
        ([], [], []),
    ],
)
def test_bins_are_joined_until_none_is_small(
    positives: list[int], rows: list[int], joined: list[tuple[int, int]]
) -> None:
    curve = Reliability(
        mean_probability=[place / 10 for place in range(len(rows))],
        observed_rate=[own / count for own, count in zip(positives, rows, strict=True)],
        count=[float(count) for count in rows],
    )
    found = public_cells.cell_of(replace(MASKED, reliability=curve), 10).reliability
    assert [round(rate * count) for rate, count in zip(found.observed_rate, found.count, strict=True)] == [
        own for own, _ in joined
    ]
    assert found.count == [count for _, count in joined]
    weights = [curve.count, found.count]
    means = [curve.mean_probability, found.mean_probability]
    sums = [sum(map(float.__mul__, mean, weight)) for mean, weight in zip(means, weights, strict=True)]
    assert sums[0] == pytest.approx(sums[1])
