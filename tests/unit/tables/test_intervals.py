"""The sentence of a table on its cells without an interval."""

from dataclasses import replace

from mmnar_lightning.evaluation.results import Score
from mmnar_lightning.tables import score, stored, written
from mmnar_lightning.tables.declared import Family
from mmnar_lightning.tables.intervals import without_interval
from mmnar_lightning.tables.score import METRICS, Line
from tests.helpers.tables import planned, rows_of, store_all

FULL = Score(value=0.5, low=0.4, high=0.6, num_defined=0, num_parts=2, method="newcombe")
BARE = replace(FULL, low=None, high=None, method=None)
UNKNOWN = replace(BARE, value=None)


def cell(pattern: str = "all", difference: Score | None = None, **scores: Score) -> Line:
    """A cell whose other metrics have an interval."""
    own = {metric: scores.get(metric, FULL) for metric in METRICS}
    return Line(cohort="own", task="death", method="trees", pattern=pattern, rows=50, scores=own, difference=difference)


def test_each_metric_has_its_number_by_rule_and_masked_cells_do_not_count() -> None:
    lines = [
        cell(difference=FULL),
        cell(pattern="10", average_precision=BARE),
        cell(pattern="01", average_precision=BARE, calibration_slope=BARE, auroc=UNKNOWN),
        cell(average_precision=UNKNOWN, calibration_slope=UNKNOWN, difference=BARE),
        replace(cell(difference=None), rows=None, scores={}),
        Line(cohort="own", task="", method="score", reason="it has none"),
    ]
    assert without_interval(lines) == (
        "Cells without an interval, of 4 that are not masked, patterns included: AUROC 1 (no test set has both "
        "classes: 1), average precision 3 (fewer than 100 positives a fold on average: 2; no positive: 1), Brier 0, "
        "calibration slope 2 (the likelihood falls too little within 50 of 0: 1; no test set has both classes and two "
        "probabilities: 1); of 2 differences 1 (a single subject in a test set: 1)."
    )


def test_a_cell_without_any_interval_is_of_a_single_subject() -> None:
    said = without_interval([replace(cell(), scores=dict.fromkeys(METRICS, BARE))])
    assert said.count("1 (a single subject in a test set: 1)") == len(METRICS)


def test_folds_of_few_positives_are_counted_on_the_page(workplace) -> None:
    found = planned(workplace, "evaluation.num_replicates=100")
    store_all(found, lambda entry: rows_of(entry, 1.0, num_rows=80))
    lines = score.lines(found, stored.read(found))
    assert [line.pattern for line in lines] == ["all", "11", "10"] * 2
    said = "average precision 6 (fewer than 100 positives a fold on average: 6), Brier 0, calibration slope 0; of 1 "
    for text in (written.to_markdown(lines, found.table.family, {}), written.to_latex(lines, Family(reference="a"))):
        assert said in text
