"""Figures show nothing of a cell of few rows: neither its count nor its values."""

from pathlib import Path

import pytest
import torch
from matplotlib.figure import Figure

from mmnar_lightning.evaluation.results import OffsetTable
from mmnar_lightning.evaluation.scores import Scoring, score
from mmnar_lightning.metrics.bootstrap import METRICS, RESAMPLED
from mmnar_lightning.report import figures
from tests.helpers.results import offset_of, results_of, scored_rows

TASKS, MIN_COUNT = ["death", "stay"], 10
COUNTS = {"11": 40, "10": MIN_COUNT, "01": MIN_COUNT - 3}
PATTERNS = {"11": 3, "10": 1, "01": 2}
SMALL = list(COUNTS).index("01")


def scored(shift: float):
    """Scores of rows of three patterns, both classes in each, one of them with few rows."""
    pattern = torch.cat([torch.full((count,), PATTERNS[name]) for name, count in COUNTS.items()])
    rows = len(pattern)
    generator = torch.Generator().manual_seed(0)
    tested = {
        "row_id": torch.arange(rows),
        "pattern": pattern,
        "probability": (torch.randn(rows, 2, generator=generator, dtype=torch.float64) + shift).sigmoid(),
        "label": (torch.arange(2 * rows).view(rows, 2) % 3 == 0).double(),
        "label_mask": torch.ones(rows, 2, dtype=torch.bool),
    }
    scoring = Scoring(num_replicates=50, seed=0, min_count=MIN_COUNT)
    return score(scored_rows(tested, torch.arange(rows)), TASKS, list(PATTERNS.values()), scoring)


OFFSETS = {name: offset_of(tau=0.1, low=-0.2, high=0.4, count=count) for name, count in COUNTS.items()}
RESULTS = results_of(
    tasks=scored(0.0),
    rectified=scored(0.3),
    rectifier={task: OffsetTable(scale="logit", strength=1.0, patterns=OFFSETS) for task in TASKS},
)


@pytest.fixture
def drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rendered_figures: None) -> dict[str, Figure]:
    """Name of a file -> the figure that would be written into it."""
    found: dict[str, Figure] = {}
    monkeypatch.setattr(figures, "save", lambda figure, path: found.setdefault(path.name, figure))
    figures.draw_results(RESULTS, tmp_path, MIN_COUNT)
    return found


def placed(axes, place: int) -> list:
    """The points and intervals of one line of a figure."""
    return [line for line in axes.get_lines() if set(line.get_ydata()) == {place}]


def test_the_cell_that_is_hidden_has_values_to_hide() -> None:
    for cell in (scores[task].patterns["01"] for scores in RESULTS.scores.values() for task in TASKS):
        assert cell.count == COUNTS["01"] < MIN_COUNT
        assert all(cell.score(name).value is not None for name in METRICS)


@pytest.mark.parametrize("metric", RESAMPLED)
def test_intervals_leave_a_small_cell_empty_and_draw_the_others(drawn, metric: str) -> None:
    for axes in drawn[f"{metric}.png"].axes:
        labels = [tick.get_text() for tick in axes.get_yticklabels()]
        assert labels == ["all rows (n=57)", "11 (n=40)", "10 (n=10)", "01 (masked)"]
        assert all(placed(axes, place) for place in range(1, 1 + SMALL))
        assert not placed(axes, 1 + SMALL)


@pytest.mark.parametrize("task", TASKS)
def test_reliability_has_no_panel_of_a_small_cell(drawn, task: str) -> None:
    titles = [axes.get_title() for axes in drawn[f"reliability_{task}.png"].axes]
    assert titles == ["all rows (n=57)", "11 (n=40)", "10 (n=10)"]


def test_offsets_leave_a_small_cell_empty_and_draw_the_others(drawn) -> None:
    for axes in drawn["rectifier.png"].axes:
        assert [tick.get_text() for tick in axes.get_yticklabels()] == ["11 (n=40)", "10 (n=10)", "01 (masked)"]
        assert placed(axes, 1)
        assert not placed(axes, SMALL)
