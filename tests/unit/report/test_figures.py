import math
from dataclasses import replace

import matplotlib
import numpy as np
import pytest

from mmnar_lightning.evaluation.breakdown import DecisionCurve, Gap, NetBenefit, SubgroupScores
from mmnar_lightning.evaluation.results import MASKED, Cell, OffsetTable, Reliability, Score, TaskScores
from mmnar_lightning.report import divisions, figures, style
from mmnar_lightning.report.public_cells import MASKED_OFFSET
from tests.helpers.results import offset_of

pytestmark = pytest.mark.usefixtures("rendered_figures")

TASKS = ["death", "stay"]
NAMES = ["labs", "discharge_note"]
PNG = b"\x89PNG\r\n\x1a\n"


def score(value: float | None, low: float | None = None, high: float | None = None) -> Score:
    return Score(value=value, low=low, high=high, num_defined=100, method="bootstrap")


def cells() -> dict[str, TaskScores]:
    def cell(count: int, auroc: Score) -> Cell:
        return replace(MASKED, count=count, auroc=auroc, brier=auroc)

    return {
        "death": TaskScores(all=cell(90, score(0.7, 0.6, 0.8)), patterns={"11": cell(70, score(0.75)), "10": MASKED}),
        "stay": TaskScores(all=cell(12, score(None)), patterns={"11": cell(12, score(None)), "10": MASKED}),
    }


def texts(figure) -> list[str]:
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def dots(axes, *, down: bool) -> list[str | None]:
    """The patterns of a matrix of dots, None for a line without."""
    absent, present = (np.array(line.get_data()).T for line in axes.get_lines()[:2])
    names, lines = (axes.get_xlim(), axes.get_ylim()) if down else (axes.get_ylim(), axes.get_xlim())
    found = np.full((round(abs(lines[1] - lines[0])), round(abs(names[1] - names[0]) - 0.2)), " ")
    for places, mark in ((absent, "0"), (present, "1")):
        for at in places.astype(int):
            found[tuple(at[::-1] if down else at)] = mark
    return ["".join(line).strip() or None for line in found]


def test_an_interval_plot_draws_what_is_defined_and_names_what_is_masked():
    figure = figures.interval_plot(cells(), "auroc", NAMES)
    matrix, death, stay = figure.axes
    assert dots(matrix, down=True) == [None, "11", "10"]
    assert [tick.get_text() for tick in matrix.get_xticklabels()] == ["labs", "discharge note"]
    assert [tick.get_text() for tick in death.get_yticklabels()] == ["n=90", "n=70", "masked"]
    drawn = [tuple(np.asarray(ends).tolist() for ends in line.get_data()) for line in death.lines]
    assert ([0.7], [0]) in drawn
    assert ([0.6, 0.8], [0, 0]) in drawn
    assert ([0.75], [1]) in drawn
    assert len(drawn) == 4
    assert len(stay.lines) == 1


def test_an_interval_plot_of_one_task_renders(tmp_path):
    style.save(figures.interval_plot({"stay": cells()["stay"]}, "brier", NAMES), tmp_path / "brier.png")
    assert (tmp_path / "brier.png").read_bytes().startswith(PNG)


def with_curves(whole: float, pattern: float) -> dict[str, TaskScores]:
    def cell(rate: float) -> Cell:
        curve = Reliability(mean_probability=[0.2, 0.7], observed_rate=[0.1, rate], count=[4, 6])
        return replace(MASKED, count=10, reliability=curve)

    return {"death": TaskScores(all=cell(whole), patterns={"11": cell(pattern), "10": MASKED})}


def test_a_reliability_plot_compares_before_and_after_in_every_pattern_that_is_not_masked():
    before, after = with_curves(0.8, 0.9), with_curves(0.6, 0.5)
    figure = figures.reliability_plot({"before": before, "after": after}, "death", NAMES)
    assert [axes.get_title(loc="left") for axes in figure.axes[:2]] == ["all rows, n=10", "n=10"]
    assert [dots(axes, down=False) for axes in figure.axes[2:]] == [[None], ["11"]]
    drawn = [np.asarray(line.get_ydata())[-1] for line in figure.axes[1].get_lines()]
    assert drawn == [1, 0.9, 0.5]  # the diagonal first
    assert [text.get_text() for text in figure.axes[0].get_legend().get_texts()] == ["before", "after"]


def test_an_offset_plot_draws_each_pattern_and_leaves_masked_ones_empty():
    entry = offset_of(tau=0.4, low=0.1, high=0.7, count=40)
    table = OffsetTable(scale="logit", strength=0.5, patterns={"11": entry, "10": MASKED_OFFSET})
    matrix, axes = figures.offset_plot({"death": table}, NAMES).axes
    assert dots(matrix, down=True) == ["11", "10"]
    assert axes.get_title(loc="left") == "Death"
    assert axes.get_xlabel() == "offset τ on the logit scale,\n95 % interval (strength 0.50)"
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["n=40", "masked"]
    points = [tuple(np.asarray(line.get_xdata()).tolist()) for line in axes.get_lines()]
    assert (0.1, 0.7) in points
    assert len(points) == 3  # value, interval, zero


def curve(points: list[tuple[float, float]]) -> DecisionCurve:
    found = [
        NetBenefit(threshold=at, model=score(value, value - 0.01, value + 0.01), treat_all=score(-value))
        for at, value in points
    ]
    return DecisionCurve(count=90, positives=30, points=found)


def test_a_decision_curve_has_the_prediction_beside_all_and_none(tmp_path):
    axes = divisions.decision_plot(curve([(0.2, 0.1), (0.5, 0.05)]), "mortality_180d").axes[0]
    none, everyone, prediction = axes.get_lines()
    assert set(np.asarray(none.get_ydata())) == {0}
    assert list(np.asarray(everyone.get_ydata())) == [-0.1, -0.05]
    assert list(np.asarray(prediction.get_ydata())) == [0.1, 0.05]
    assert list(np.asarray(prediction.get_xdata())) == pytest.approx([math.log(0.25), 0])
    assert axes.get_title(loc="left") == "Mortality, 180 days, n=90"


def test_a_decision_curve_without_a_threshold_says_so():
    figure = divisions.decision_plot(curve([]), "death")
    assert texts(figure) == ["every threshold is masked"]


def test_subgroups_are_drawn_with_their_largest_gap_and_ages_in_order():
    def cell(count: int, value: float) -> Cell:
        return replace(MASKED, count=count, auroc=score(value, value - 0.1, value + 0.1))

    ages = {"65 to 74": cell(50, 0.7), "18 to 44": cell(30, 0.8), "under 18": cell(11, 0.6)}
    gap = Gap(higher="18 to 44", lower="under 18", difference=score(0.2, -0.1, 0.5), num_levels=3)
    found = {
        "age_band": SubgroupScores(levels=ages, pooled=replace(cell(20, 0.5), groups=2), gaps={"auroc": gap}),
        "hospital": SubgroupScores(levels={"1": cell(40, 0.65)}, pooled=None, gaps={}),
    }
    figure = divisions.subgroup_plot(cell(120, 0.75), found, "icu_90d")
    assert texts(figure) == [
        "all rows", "n=120", "Age band: largest gap 0.20 (-0.10 to 0.50), 18 to 44 and under 18",
        "under 18", "n=11", "18 to 44", "n=30", "65 to 74", "n=50", "2 smaller, pooled", "n=20",
        "Hospital", "hospital 1", "n=40",
    ]  # fmt: skip
    values = [line.get_xdata()[0] for line in figure.axes[0].get_lines() if line.get_marker() == "o"]
    assert values == [0.75, 0.6, 0.8, 0.7, 0.5, 0.65]


def test_a_figure_is_written_in_three_formats_with_the_same_bytes_each_time(tmp_path):
    for name in ("a", "b"):
        style.save(figures.interval_plot(cells(), "auroc", NAMES), tmp_path / f"{name}.png")
    kinds = {"png": PNG, "pdf": b"%PDF-", "svg": b"<?xml"}
    assert {path.name for path in tmp_path.iterdir()} == {f"{name}.{kind}" for name in "ab" for kind in kinds}
    for kind, start in kinds.items():
        first, second = ((tmp_path / f"{name}.{kind}").read_bytes() for name in "ab")
        assert first.startswith(start)
        assert first == second
    assert ">n=90<" in (tmp_path / "a.svg").read_text(), "text is text, not paths"


def test_the_style_of_a_program_stays_as_it_was():
    before = dict(matplotlib.rcParams)
    figure = figures.interval_plot(cells(), "auroc", NAMES)
    assert dict(matplotlib.rcParams) == before
    assert not figure.axes[1].spines["top"].get_visible()


def test_colours_differ_for_every_colour_vision():
    red, green, blue = (np.array([int(colour[at : at + 2], 16) for colour in style.COLOURS]) for at in (1, 3, 5))
    luminance = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    apart = np.abs(luminance[:, None] - luminance) + np.abs(blue[:, None] - blue) + np.eye(len(red)) * 999
    assert apart.min() > 15, "blue and luminance are what red-green blindness leaves"


def test_other_patterns_and_those_of_many_modalities_are_written_instead_of_drawn():
    found = {"death": TaskScores(all=MASKED, patterns={"11": MASKED, "others": MASKED})}
    matrix = figures.interval_plot(found, "auroc", NAMES).axes[0]
    assert dots(matrix, down=True) == [None, "11", None]
    assert [text.get_text() for text in matrix.texts] == ["others", "all rows"]
    wide = {"death": TaskScores(all=MASKED, patterns={"10" * 40: MASKED})}
    figure = figures.interval_plot(wide, "auroc", [f"m{number}" for number in range(80)])
    assert texts(figure) == ["1010101010101010… 40 of 80", "all rows"]
    assert figure.get_figwidth() < 8
    assert figure.axes[0].get_xticks().size == 0
