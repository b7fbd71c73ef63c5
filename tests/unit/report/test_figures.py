import math
from dataclasses import replace

import numpy as np
import pytest

from mmnar_lightning.evaluation.results import MASKED, Cell, OffsetTable, Reliability, Score, TaskScores
from mmnar_lightning.report import figures
from mmnar_lightning.report.cohort import MAX_PATTERNS
from mmnar_lightning.report.public_cells import MASKED_OFFSET
from tests.helpers.results import offset_of

pytestmark = pytest.mark.usefixtures("rendered_figures")

TASKS = ["death", "stay"]
PNG = b"\x89PNG\r\n\x1a\n"


def values(patterns: list[str]) -> dict[str, float]:
    found: dict[str, float] = {}
    for place, key in enumerate(f"{task}/{pattern}" for task in TASKS for pattern in patterns):
        found |= {f"auroc/{key}": 0.5 + 0.01 * place, f"count/{key}": 20.0 + place}
    return found


def score(value: float | None, low: float | None = None, high: float | None = None) -> Score:
    return Score(value=value, low=low, high=high, num_defined=100, method="bootstrap")


def cells() -> dict[str, TaskScores]:
    def cell(count: int, auroc: Score) -> Cell:
        return replace(MASKED, count=count, auroc=auroc, brier=auroc)

    return {
        "death": TaskScores(all=cell(90, score(0.7, 0.6, 0.8)), patterns={"11": cell(70, score(0.75)), "10": MASKED}),
        "stay": TaskScores(all=cell(12, score(None)), patterns={"11": cell(12, score(None))}),
    }


def texts(figure) -> list[str]:
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def test_a_heat_map_writes_value_and_count_and_says_what_is_masked_or_undefined():
    found = values(["11", "10"])
    found["auroc/death/10"] = math.nan
    found["auroc/stay/10"] = found["count/stay/10"] = math.nan
    assert texts(figures.heat_map(found, TASKS, ["11", "10"])) == ["0.50\nn=20", "n=21", "0.52\nn=22", "masked"]


def test_a_heat_map_of_nothing_but_masked_cells_renders(tmp_path):
    found = dict.fromkeys(values(["11"]), math.nan)
    figures.save(figures.heat_map(found, TASKS, ["11"]), tmp_path / "map.png")
    assert (tmp_path / "map.png").read_bytes().startswith(PNG)


def test_a_heat_map_shows_the_most_frequent_patterns_alone():
    patterns = [f"{number:05b}" for number in range(20)]
    figure = figures.heat_map(values(patterns), TASKS, patterns)
    labels = [tick.get_text() for tick in figure.axes[0].get_xticklabels()]
    assert labels == patterns[:MAX_PATTERNS]
    assert len(texts(figure)) == 2 * MAX_PATTERNS


def test_an_interval_plot_draws_what_is_defined_and_names_what_is_masked():
    figure = figures.interval_plot(cells(), "auroc")
    death, stay = figure.axes
    assert [tick.get_text() for tick in death.get_yticklabels()] == ["all rows (n=90)", "11 (n=70)", "10 (masked)"]
    drawn = [tuple(np.asarray(ends).tolist() for ends in line.get_data()) for line in death.lines]
    assert ([0.7], [0]) in drawn
    assert ([0.6, 0.8], [0, 0]) in drawn
    assert ([0.75], [1]) in drawn
    assert len(drawn) == 4
    assert len(stay.lines) == 1


def test_an_interval_plot_of_one_task_renders(tmp_path):
    figures.save(figures.interval_plot({"stay": cells()["stay"]}, "brier"), tmp_path / "brier.png")
    assert (tmp_path / "brier.png").read_bytes().startswith(PNG)


def with_curves(whole: float, pattern: float) -> dict[str, TaskScores]:
    def cell(rate: float) -> Cell:
        curve = Reliability(mean_probability=[0.2, 0.7], observed_rate=[0.1, rate], count=[4, 6])
        return replace(MASKED, count=10, reliability=curve)

    return {"death": TaskScores(all=cell(whole), patterns={"11": cell(pattern), "10": MASKED})}


def test_a_reliability_plot_compares_before_and_after_in_every_pattern_that_is_not_masked():
    before, after = with_curves(0.8, 0.9), with_curves(0.6, 0.5)
    figure = figures.reliability_plot({"before": before, "after": after}, "death")
    assert [axes.get_title() for axes in figure.axes] == ["all rows (n=10)", "11 (n=10)"]
    drawn = [np.asarray(line.get_ydata())[-1] for line in figure.axes[1].get_lines()]
    assert drawn == [1, 0.9, 0.5]  # the diagonal first
    assert [text.get_text() for text in figure.axes[0].get_legend().get_texts()] == ["before", "after"]


def test_an_offset_plot_draws_each_pattern_and_leaves_masked_ones_empty():
    entry = offset_of(tau=0.4, low=0.1, high=0.7, count=40)
    table = OffsetTable(scale="logit", strength=0.5, patterns={"11": entry, "10": MASKED_OFFSET})
    axes = figures.offset_plot({"death": table}).axes[0]
    assert axes.get_title() == "death (strength 0.50)"
    assert axes.get_xlabel() == "offset τ on the logit scale, 95 % interval"
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["11 (n=40)", "10 (masked)"]
    points = [tuple(np.asarray(line.get_xdata()).tolist()) for line in axes.get_lines()]
    assert (0.1, 0.7) in points
    assert len(points) == 3  # value, interval, zero


@pytest.mark.parametrize("draw", ["heat_map", "interval_plot"])
def test_the_same_values_give_the_same_bytes(draw, tmp_path):
    for name in ("a", "b"):
        found = values(["11", "10"])
        found["auroc/death/10"] = math.nan
        figure = (
            figures.heat_map(found, TASKS, ["11", "10"])
            if draw == "heat_map"
            else figures.interval_plot(cells(), "auroc")
        )
        figures.save(figure, tmp_path / "figures" / f"{name}.png")
    first, second = ((tmp_path / "figures" / f"{name}.png").read_bytes() for name in "ab")
    assert first.startswith(PNG)
    assert first == second
