"""A short form of docs/coverage.md: intervals of few rows hold the truth nearly as often as they should."""

import math

import pytest

from benchmarks.coverage.grid import Found, measure
from benchmarks.coverage.worlds import World
from mmnar_lightning.metrics import cells
from mmnar_lightning.metrics.bootstrap import METRICS

pytestmark = pytest.mark.slow
SAMPLES = 150
WORLDS = [
    World(rows=40, prevalence=0.1, rows_per_subject=1, folds=1),
    World(rows=60, prevalence=0.1, rows_per_subject=2.5, folds=1),
    World(rows=100, prevalence=0.1, rows_per_subject=2.5, folds=5),
]
LEAST = 0.93 - 3 * math.sqrt(0.93 * 0.07 / SAMPLES)


def coverage(found: list[Found], figure: str) -> float:
    held = [one.holds for one in found if one.figure == figure and one.method is not None]
    return sum(held) / len(held) if held else math.nan


@pytest.fixture(scope="module", params=WORLDS, ids=lambda world: f"{world.rows}-{world.rows_per_subject}-{world.folds}")
def found(request) -> list[Found]:
    return measure(request.param, SAMPLES, seed=0, figures=METRICS)


@pytest.mark.parametrize("figure", METRICS)
def test_every_metric_covers_where_few_rows_are_known(found, figure: str) -> None:
    if figure == "average_precision" and found[0].world.folds > 1:
        without = [one.method is None for one in found if one.figure == figure]
        assert sum(without) > 0.9 * len(without), "folds of two positives have an interval"
        return
    assert coverage(found, figure) >= LEAST


def test_without_the_rule_for_few_rows_the_percentiles_do_not_cover(monkeypatch) -> None:
    monkeypatch.setattr(cells, "FEW", 0)
    found = measure(WORLDS[0], SAMPLES, seed=0, figures=METRICS)
    assert all(coverage(found, figure) < LEAST for figure in ("auroc", "average_precision"))


def test_differences_and_models_that_are_not_calibrated_cover() -> None:
    found = measure(WORLDS[1], SAMPLES // 2, seed=1)
    least = 0.93 - 3 * math.sqrt(0.93 * 0.07 / (SAMPLES // 2))
    figures = {one.figure for one in found if "," in one.figure}
    assert len(figures) == 10
    assert {name: share for name in figures if (share := coverage(found, name)) < least} == {}
