"""The numbers of a table: spread, family of tests, what is masked, and that they come from stored predictions alone."""

import csv
import io
import statistics
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
import torch
from sklearn.metrics import roc_auc_score

from mmnar_lightning.evaluation.comparison import paired, rows_of
from mmnar_lightning.evaluation.scores import Scoring
from mmnar_lightning.metrics.delong import holm
from mmnar_lightning.report import style
from mmnar_lightning.report.style import FORMATS
from mmnar_lightning.tables import figure, page, score, stored, written
from mmnar_lightning.tables.declared import TableError
from mmnar_lightning.tables.plan import Plan
from mmnar_lightning.tables.score import Line
from mmnar_lightning.tables.spread import difference_spread, spreads
from tests.helpers import tables
from tests.helpers.paths import shared
from tests.helpers.tables import planned, store_all
from tests.helpers.tables import rows_of as drawn

METHODS = {
    "good": "baselines/logistic_regression",
    "poor": "baselines/mask_only",
    "equal": {"layers": ["baselines/logistic_regression"], "words": ["model.encoder.components=4"]},
}
STRENGTH = {"good": 2.0, "poor": 0.3, "equal": 2.0}
FEW = ("evaluation.num_replicates=100",)


TWO = {"own": "custom", "other": "custom"}


def stored_in(place: Path) -> Plan:
    """Three methods with stored predictions on two cohorts, of two tasks."""
    found = planned(place, *FEW, methods=METHODS, family={"reference": "good"}, cohorts=TWO)
    return store_all(found, lambda entry: drawn(entry, STRENGTH[entry.method], tasks=("first", "second")))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plan]:
    """The plan of stored predictions, which tests only read."""
    place = tmp_path_factory.mktemp("made")
    found = stored_in(place)
    with shared(place):
        yield found


@pytest.fixture(scope="module")
def scored(made: Plan) -> list[Line]:
    return lines_of(made)


def lines_of(found: Plan) -> list[Line]:
    return score.lines(found, stored.read(found))


def place_of(found: Plan) -> Path:
    """The folder that a plan was made in."""
    return Path(found.bases["own"].paths.runs).parent


def whole(lines: list[Line], method: str, task: str = "first", cohort: str = "own") -> Line:
    (line,) = [
        line for line in lines if (line.cohort, line.task, line.method, line.pattern) == (cohort, task, method, "all")
    ]
    return line


def test_the_spread_is_that_of_the_means_over_seeds_and_over_folds(made: Plan, scored: list[Line]) -> None:
    line = whole(scored, "poor")
    auroc = {
        (entry.child.seed, entry.child.fold): roc_auc_score(rows["label/first"], rows["logit/first"])
        for entry in tables.of(made, "poor")
        for rows in [drawn(entry, STRENGTH["poor"], tasks=("first", "second"))]
    }
    assert line.scores["auroc"].value == pytest.approx(statistics.mean(auroc.values()))
    over_folds = statistics.stdev(statistics.mean(auroc[seed, fold] for seed in (0, 1)) for fold in (0, 1))
    over_seeds = statistics.stdev(statistics.mean(auroc[seed, fold] for fold in (0, 1)) for seed in (0, 1))
    assert over_folds != pytest.approx(over_seeds)
    assert line.spread["auroc"] == pytest.approx((over_folds, over_seeds))


def test_differences_and_patterns_have_their_spread_too(made: Plan, scored: list[Line]) -> None:
    def auroc(method: str, seed: int, fold: int, pattern: str) -> float:
        (entry,) = [own for own in tables.of(made, method) if (own.child.seed, own.child.fold) == (seed, fold)]
        rows = drawn(entry, STRENGTH[method], tasks=("first", "second"))
        kept = rows.filter(pl.col("pattern").str.contains(pattern))
        return float(roc_auc_score(kept["label/first"], kept["logit/first"]))

    def over_seeds(value: Callable[[int, int], float]) -> float:
        return statistics.stdev(statistics.mean(value(seed, fold) for fold in (0, 1)) for seed in (0, 1))

    difference = over_seeds(lambda seed, fold: auroc("poor", seed, fold, ".") - auroc("good", seed, fold, "."))
    assert whole(scored, "poor").spread["difference"].seeds == pytest.approx(difference)
    assert "difference" not in whole(scored, "good").spread
    (line,) = [
        line for line in scored if (line.cohort, line.task, line.method, line.pattern) == ("own", "first", "poor", "10")
    ]
    assert line.spread["auroc"].seeds == pytest.approx(over_seeds(lambda seed, fold: auroc("poor", seed, fold, "10")))


@pytest.mark.parametrize(("positives", "is_shown"), [(10, True), (9, False), (31, False)])
def test_a_spread_over_folds_shows_no_score_of_a_small_fold(positives: int, is_shown: bool) -> None:
    """Two folds and their mean give both scores; seeds have the same rows, all of which are shown."""
    own = pl.concat(
        pl.DataFrame(
            {
                "seed": [seed] * 40,
                "fold": [fold] * 40,
                "subject_id": [f"{fold}-{row}" for row in range(40)],
                "label": [float(row < (positives if fold else 20)) for row in range(40)],
                "probability": [(7 * row * (seed + 2) % 40) / 40 for row in range(40)],
            }
        )
        for seed in (0, 1)
        for fold in (0, 1)
    )
    other = own.with_columns(probability=1 - pl.col("probability"))
    for found in (spreads(own, ("auroc",), 10)["auroc"], difference_spread(own, other, 10)):
        assert (found.folds is not None) == is_shown
        assert found.seeds is not None


def test_every_number_of_the_file_has_both_deviations_and_a_masked_cell_none(made: Plan, scored: list[Line]) -> None:
    names = ("auroc", "average_precision", "brier", "calibration_slope", "difference")
    rows = list(csv.DictReader(io.StringIO(written.to_csv(scored))))
    assert {row["pattern"] for row in rows} == {"all", "10", "11"}
    for name in names:
        both = [bool(row[f"{name}_sd_folds"]) and bool(row[f"{name}_sd_seeds"]) for row in rows]
        assert both == [bool(row[name]) for row in rows]
    assert sum(bool(row["difference_low"]) for row in rows) == 8
    masked = planned(place_of(made), *FEW, "privacy.min_count=250", methods=METHODS, family={"reference": "good"})
    hidden = [row for row in csv.DictReader(io.StringIO(written.to_csv(lines_of(masked)))) if not row["rows"]]
    assert len(hidden) == 3
    for row in hidden:
        assert not any(value for key, value in row.items() if key.endswith(("_sd_folds", "_sd_seeds")))
    text = written.to_markdown(scored, made.table.family, {})
    assert "deviations of the other metrics and of the difference, and missingness patterns with theirs, are in" in text


@pytest.mark.parametrize(("together", "size"), [("table", 8), ("cohort", 4), ("task", 2)])
def test_tests_are_corrected_over_the_declared_family(made: Plan, together: str, size: int) -> None:
    declared = {"reference": "good", "together": together}
    found = planned(place_of(made), *FEW, methods=METHODS, family=declared, cohorts=TWO)
    tested = [line for line in lines_of(found) if line.p is not None]
    assert len(tested) == 8
    for first in range(0, 8, size):
        own = tested[first : first + size]
        assert [line.corrected for line in own] == pytest.approx(holm([line.p for line in own]).tolist())
    assert {line.method: line.verdict for line in tested} == {"poor": "worse", "equal": "level"}
    assert whole(tested, "poor").difference.high < 0


def test_the_test_is_that_of_mmnar_compare(made: Plan, scored: list[Line]) -> None:
    found = stored.read(made)
    poor, good = (rows_of(name, found["own", name].rows, "first") for name in ("poor", "good"))
    difference, p = paired(poor, good, Scoring(num_replicates=100, seed=0, min_count=10))
    line = whole(scored, "poor")
    assert (line.difference, line.p) == (difference, p)
    assert whole(scored, "good").verdict == "not tested"


def test_rows_of_patterns_are_scored_and_small_ones_are_not_there(made: Plan, scored: list[Line]) -> None:
    patterns = {line.pattern: line.rows for line in scored if line.method == "poor" and line.task == "first"}
    assert patterns == {"all": 800, "11": 600, "10": 200}
    rare = planned(place_of(made), *FEW, "privacy.min_count=250", methods=METHODS, family={"reference": "good"})
    masked = {line.pattern: line.rows for line in lines_of(rare) if line.method == "poor" and line.task == "first"}
    assert masked == {"all": None}


def test_a_small_fold_hides_the_total_of_its_task(workplace: Path) -> None:
    found = planned(workplace, *FEW)
    rates = {0: 0.3, 1: 0.01}
    store_all(found, lambda entry: drawn(entry, 1.0, rate=rates[entry.child.fold or 0]))
    (line, *_) = lines_of(found)
    assert (line.rows, line.scores, line.p) == (None, {}, None)
    assert "masked" in written.to_markdown([line], found.table.family, {})


def test_a_method_without_some_rows_is_compared_on_its_own_and_hidden_if_the_rest_is_small(workplace: Path) -> None:
    for kept, shown in ((300, 600), (394, None)):
        place = workplace / str(kept)
        found = planned(place, *FEW)
        for entry in found.entries:
            tables.store(entry, drawn(entry, 1.0).head(kept if entry.method == "presence" else 400))
        lines = lines_of(found)
        assert whole(lines, "presence").rows == shown
        assert (whole(lines, "presence").p is None) == (shown is None)
        assert whole(lines, "regression").rows == 800
        assert not [line for line in lines if line.method == "presence" and line.pattern != "all"]
    other = planned(workplace / "other", *FEW)
    store_all(other, lambda entry: drawn(entry, 1.0).with_columns(pl.col("row_id") + (entry.method == "presence")))
    with pytest.raises(TableError, match="was not tested on rows of the other methods"):
        lines_of(other)


def test_without_stored_predictions_the_entries_are_named(workplace: Path) -> None:
    made = stored_in(workplace)
    (entry, *_) = made.entries
    (entry.runs[0] / "predictions.parquet").unlink()
    made.entries[3].outcome.unlink()
    with pytest.raises(TableError) as caught:
        stored.read(made)
    assert "2 of 24 entries have no stored predictions (own, good, seed 0, fold 0; own, good, seed 1, fold 1)" in str(
        caught.value
    )
    assert "`mmnar table table.name=small`" in str(caught.value)


def test_the_files_have_every_number_and_what_is_not_applicable(workplace: Path) -> None:
    found = planned(
        workplace, *FEW, methods={**METHODS, "score": "baselines/published_score"}, family={"reference": "good"}
    )
    store_all(found, lambda entry: None if entry.method == "score" else drawn(entry, STRENGTH[entry.method]))
    lines = lines_of(found)
    rows = list(csv.DictReader(io.StringIO(written.to_csv(lines))))
    poor = next(row for row in rows if (row["method"], row["pattern"]) == ("poor", "all"))
    line = whole(lines, "poor")
    assert float(poor["auroc_low"]) == pytest.approx(line.scores["auroc"].low, abs=1e-5)
    assert float(poor["brier_sd_seeds"]) == pytest.approx(line.spread["brier"].seeds, rel=1e-4)
    assert (float(poor["cpu_seconds"]), poor["runs"], poor["verdict"]) == (12.0, "4", "worse")
    assert rows[-1]["not_applicable"] == "it has no score"
    text = written.to_markdown(lines, found.table.family, stored.left_out_of(found))
    assert f" positive. {tables.DROPPED}.\n" in text
    assert "| own | score | it has no score |" in text
    assert "800 test rows" in text
    assert "2 tests are corrected by Holm's method, all comparisons of the table together" in text
    latex = written.to_latex(lines, found.table.family)
    assert latex.count(r"\begin{tabular}") == latex.count(r"\bottomrule") == 1
    assert "_" not in latex.replace(r"\_", "").split(r"\begin{table}")[1]


def test_the_page_keeps_what_stands_above_it_and_the_figure_is_the_same_each_time(
    made: Plan, scored: list[Line], workplace: Path
) -> None:
    found, lines = stored.read(made), scored
    docs = workplace / "docs" / "table.md"
    docs.parent.mkdir()
    docs.write_text(f"# Mine\n\nkept\n\n{page.MARKER}\n\nstale")
    place = page.write(made, found, lines, docs)
    text = docs.read_text()
    assert text.startswith("# Mine\n\nkept\n\n")
    assert "stale" not in text
    assert "24 runs of 3 methods on 2 cohorts (2 seeds)" in text
    assert "[small.csv](table/small.csv)" in text
    assert (docs.parent / "table" / "small.csv").read_text() == written.to_csv(lines)
    assert place == docs.parent / "figures" / "table_small"
    drawings = []
    for name in ("one", "two"):
        style.save(figure.forest(lines, "good", stored.modalities_of(made)), workplace / name)
        drawings.append([(workplace / name).with_suffix(f".{kind}").read_bytes() for kind in FORMATS])
    assert drawings[0] == drawings[1]
    panels = figure.forest(lines, "good", stored.modalities_of(made)).axes
    assert len(panels) == 4 * 3
    titles = [axes.get_title(loc="left") for axes in panels[:3]]
    assert titles == ["own, first\nall rows (n=800)", "table + vectors (n=600)", "table (n=200)"]
    assert torch.tensor([len(axes.lines) for axes in panels]).eq(7).all()
    pattern = next(line.pattern for line in lines if line.pattern != "all")
    hidden = [replace(line, scores={}) if line.pattern == pattern else line for line in lines]
    panels = figure.forest(hidden, "good", stored.modalities_of(made)).axes
    assert len(panels) == 4 * 2  # no empty panel for a pattern without any AUROC
    assert panels[1].get_title(loc="left") in titles[1:]
    assert panels[1].lines


def test_a_task_that_is_masked_for_all_methods_has_a_sentence_and_no_panels(made: Plan, scored: list[Line]) -> None:
    hidden = [replace(line, rows=None, scores={}) if line.task == "first" else line for line in scored]
    whole, text, latex = (
        written.to_markdown(scored, made.table.family, {}),
        written.to_markdown(hidden, made.table.family, {}),
        written.to_latex(hidden, made.table.family),
    )
    sections = [part for part in text.split("## ") if "masked.\n" in part and ": first" in part]
    assert len(sections) == 2
    assert all("|" not in part for part in sections)
    assert text.count("| good |") == whole.count("| good |") - 2
    assert latex.count(r"\begin{table}") == 2
    assert len(figure.forest(hidden, "good", stored.modalities_of(made)).axes) == 2 * 3


def test_a_mean_is_the_mean_logit_on_the_rows_that_all_of_its_methods_predict(workplace: Path) -> None:
    methods = {**METHODS, "both": {"mean": ["good", "poor"]}}
    found = planned(workplace, *FEW, methods=methods, family={"reference": "good"})
    store_all(
        found, lambda entry: drawn(entry, STRENGTH[entry.method]).filter(entry.method != "poor" or pl.col("row_id") > 9)
    )
    tested = stored.read(found)
    good, poor, both = (tested["own", name] for name in ("good", "poor", "both"))
    assert isinstance(good, stored.Tested)
    assert isinstance(poor, stored.Tested)
    assert isinstance(both, stored.Tested)
    keys = ["seed", "fold", "row_id"]
    assert both.rows.select(keys).equals(poor.rows.select(keys))
    logits = {
        name: own.rows.join(poor.rows, on=keys, how="semi", maintain_order="left")["logit/first"].to_numpy()
        for name, own in (("good", good), ("poor", poor), ("both", both))
    }
    assert logits["both"] == pytest.approx((logits["good"] + logits["poor"]) / 2)
    assert both.cost == good.cost + poor.cost
    refused = stored._mean({"good": good, "poor": "no texts"})
    assert refused == "poor is not: no texts"
