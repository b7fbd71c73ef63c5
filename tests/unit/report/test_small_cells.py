"""Figures show nothing of a hidden cell: neither its count nor its values."""

import re
from pathlib import Path

import polars as pl
import pytest
import torch
from matplotlib.figure import Figure

from mmnar_lightning.evaluation.results import OffsetTable, TaskScores
from mmnar_lightning.evaluation.scores import Scoring, score
from mmnar_lightning.evaluation.subgroups import decision_curves, score_subgroups
from mmnar_lightning.metrics.bootstrap import METRICS, RESAMPLED
from mmnar_lightning.outputs import ScoredRows
from mmnar_lightning.report import figures, style
from mmnar_lightning.report.public import public
from tests.conftest import draw_figures
from tests.helpers.results import offset_of, results_of, scored_rows

TASKS, MIN_COUNT = ["death", "stay"], 10
COUNTS = {"11": 60, "10": 45, "00": 30, "01": MIN_COUNT - 3}
PATTERNS = {"11": 3, "10": 1, "00": 0, "01": 2}
SHOWN, HIDDEN = list(COUNTS)[:2], list(COUNTS)[2:]
"""One is small, and it would follow from the other."""


ATTRIBUTE = pl.Series("subgroup/ward", ["north"] * 77 + ["south"] * 57 + ["west"] * 8)
"""West has few rows: it is pooled alone, and would follow from the others."""
SCORING = Scoring(num_replicates=50, seed=0, min_count=MIN_COUNT)


def rows_of(shift: float) -> ScoredRows:
    """Rows of four patterns, both classes in each, one of them with few rows."""
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
    return scored_rows(tested, torch.arange(rows))


def scored(rows: ScoredRows) -> dict[str, TaskScores]:
    return score(rows, TASKS, list(PATTERNS.values()), SCORING)


ROWS = [rows_of(shift) for shift in (0.0, 0.3)]


OFFSETS = {
    name: offset_of(tau=0.1, low=-0.2, high=0.4, count=count, positives=count // 2) for name, count in COUNTS.items()
}
RESULTS = results_of(
    tasks=scored(ROWS[0]),
    rectified=scored(ROWS[1]),
    modalities=["labs", "note"],
    subgroups=score_subgroups(ROWS[0], pl.DataFrame([ATTRIBUTE]), TASKS, SCORING),
    net_benefit=decision_curves(ROWS[0], TASKS),
    rectifier={task: OffsetTable(scale="logit", strength=1.0, patterns=OFFSETS) for task in TASKS},
)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Figure], Path]:
    """Name of a file -> the figure that would be written into it; and the folder of their SVG files."""
    found: dict[str, Figure] = {}
    place = tmp_path_factory.mktemp("figures")

    def keep_and_save(figure: Figure, path: Path) -> None:
        found[path.name] = figure
        style.save(figure, path, ["svg"])

    with pytest.MonkeyPatch.context() as patch:
        draw_figures(patch)
        patch.setattr(figures, "save", keep_and_save)
        figures.draw_results(public(RESULTS, MIN_COUNT), place)
    return found, place


@pytest.fixture
def drawn(written: tuple[dict[str, Figure], Path]) -> dict[str, Figure]:
    """Name of a file -> the figure that would be written into it."""
    return written[0]


def placed(axes, place: int) -> list:
    """The points and intervals of one line of a figure."""
    return [line for line in axes.get_lines() if set(line.get_ydata()) == {place}]


def test_the_cells_that_are_hidden_have_values_to_hide() -> None:
    for cells in (scores[task].patterns for scores in RESULTS.scores.values() for task in TASKS):
        assert cells["01"].count == COUNTS["01"] < MIN_COUNT
        assert all(cells[pattern].score(name).value is not None for name in METRICS for pattern in HIDDEN)


@pytest.mark.parametrize("metric", RESAMPLED)
def test_intervals_leave_hidden_cells_empty_and_draw_the_others(drawn, metric: str) -> None:
    for axes in drawn[f"{metric}.png"].axes[1:]:
        labels = [tick.get_text() for tick in axes.get_yticklabels()]
        assert labels == ["n=142", "n=60", "n=45", "masked", "masked"]
        assert [bool(placed(axes, place)) for place in range(1, 5)] == [True, True, False, False]


@pytest.mark.parametrize("task", TASKS)
def test_reliability_has_no_panel_of_a_hidden_cell(drawn, task: str) -> None:
    titles = [axes.get_title(loc="left") for axes in drawn[f"reliability_{task}.png"].axes]
    assert titles == ["all rows, n=142", "n=60", "n=45", "", "", ""]


def test_offsets_leave_hidden_cells_empty_and_draw_the_others(drawn) -> None:
    for axes in drawn["rectifier.png"].axes[1:]:
        labels = [tick.get_text() for tick in axes.get_yticklabels()]
        assert labels == ["n=60", "n=45", "masked", "masked"]
        assert [bool(placed(axes, place)) for place in range(1, 4)] == [True, False, False]


@pytest.mark.parametrize("task", TASKS)
def test_subgroups_draw_neither_the_small_level_nor_the_one_that_it_would_follow_from(drawn, task: str) -> None:
    found = [text.get_text() for text in drawn[f"subgroups_{task}.png"].axes[0].texts]
    assert found == ["all rows", "n=142", "Ward", "north", "n=77"]


def test_no_number_of_a_hidden_cell_is_in_the_text_of_a_figure(written) -> None:
    drawn, place = written
    names = {path.stem for path in place.glob("*.svg")}
    assert {f"{kind}_{task}.png" for kind in ("subgroups", "decision_curve") for task in TASKS} <= set(drawn)
    assert names == {Path(name).stem for name in drawn}
    hidden = {COUNTS["01"], COUNTS["00"], 57, 8}
    seen = set()
    for path in place.glob("*.svg"):
        counts = {int(found) for found in re.findall(r">[^<]*n=(\d+)", path.read_text())}
        assert not counts & hidden, path.name
        seen |= counts
    assert seen == {142, COUNTS["11"], COUNTS["10"], 77}


def test_bins_of_reliability_curves_have_no_small_count(drawn) -> None:
    for scores in public(RESULTS, MIN_COUNT).scores.values():
        for cell in (scores[task].cells[pattern] for task in TASKS for pattern in ["all", *SHOWN]):
            bins = list(zip(cell.reliability.count, cell.reliability.observed_rate, strict=True))
            assert all(count >= MIN_COUNT for count, _ in bins)
            positives = [round(count * rate) for count, rate in bins]
            negatives = [round(count) - own for (count, _), own in zip(bins, positives, strict=True)]
            assert not [own for own in positives + negatives if 0 < own < MIN_COUNT]
            assert (sum(positives), sum(count for count, _ in bins)) == (cell.positives, cell.count)
