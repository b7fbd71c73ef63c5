from dataclasses import replace

import numpy as np

from mmnar_lightning.evaluation.results import MASKED, MASKED_VALUES, Score, TaskScores, ValueScores
from mmnar_lightning.report.overview import HEADER, draw_overview, table_rows
from tests.helpers.results import results_of


def score(value: float) -> Score:
    return Score(value=value, low=value - 0.1, high=value + 0.1, num_defined=100, method="bootstrap")


def binary(value: float) -> dict[str, TaskScores]:
    cell = replace(MASKED, count=50, positives=20, brier=score(value))
    return {"mortality_180d": TaskScores(all=cell, patterns={"11": replace(cell, count=30), "10": MASKED})}


def numbers(value: float) -> dict[str, ValueScores]:
    cell = replace(MASKED_VALUES, count=50, subjects=40, mae=score(value))
    return {"length_of_stay": ValueScores(all=cell, patterns={"11": replace(cell, count=30), "10": MASKED_VALUES})}


def dots(axes) -> list[tuple[float, float]]:
    lines = [line for line in axes.get_lines() if line.get_marker() == "o"]
    return [(float(np.ravel(line.get_xdata())[0]), round(float(np.ravel(line.get_ydata())[0]))) for line in lines]


def test_a_metric_is_one_row_with_both_times_and_a_count_one_row_of_its_own():
    rows = list(table_rows(results_of(tasks=binary(0.2), rectified=binary(0.1))))
    assert {row[1] for row in rows} == {"all", "11"}, "a masked cell has no row"
    found = {tuple(row[:3]): dict(zip(HEADER[3:], row[3:], strict=True)) for row in rows}
    brier = found["mortality_180d", "11", "brier"]
    assert (brier["before"], brier["after"]) == (0.2, 0.1)
    assert brier["before high"] > brier["after high"] > brier["before low"] > brier["after low"]
    counts = {key: own["before"] for key, own in found.items() if key[2] in {"rows", "positives"}}
    assert list(counts.values()) == [50, 20, 30, 20]


def test_without_a_rectifier_the_second_time_is_empty():
    rows = list(table_rows(results_of(tasks=binary(0.2))))
    assert {value for row in rows for value in row[6:]} == {None}


def test_numbers_have_the_same_table_and_figure_without_positives():
    results = results_of(tasks={}, values=numbers(2.0), rectified_values=numbers(1.5))
    rows = {tuple(row[:3]): row[3:] for row in table_rows(results)}
    assert rows["length_of_stay", "all", "mae"] == [2.0, 1.9, 2.1, 1.5, 1.4, 1.6]
    assert {key[2] for key in rows} == {"rows", "mae", "rmse", "mean_error", "r2"}
    _, error, *_ = draw_overview(results).axes
    assert error.get_xlabel() == "mean absolute error"
    assert dots(error) == [(2.0, 0), (2.0, 1), (1.5, 0), (1.5, 1)]


def test_the_figure_has_a_row_a_task_and_names_what_is_masked():
    figure = draw_overview(results_of(tasks=binary(0.2), rectified=binary(0.1)))
    matrix, auroc, _, brier, _ = figure.axes
    assert matrix.get_xlabel() == "Mortality, 180 days"
    assert dots(brier) == [(0.2, 0), (0.2, 1), (0.1, 0), (0.1, 1)]
    assert dots(auroc) == []
    assert [(tick.get_text(), at) for tick, at in zip(auroc.get_yticklabels(), auroc.get_yticks(), strict=True)] == [
        ("masked", 2)
    ]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["before", "after"]
