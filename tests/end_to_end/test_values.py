"""Runs whose tasks are numbers: trained, rectified, scored by pattern, stored; what cannot do it says so."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import mmnar_lightning
from mmnar_lightning.cli import main
from mmnar_lightning.config.experiment import ConfigError, ExperimentConfig
from mmnar_lightning.evaluation.results import MASKED_VALUES, Results
from mmnar_lightning.evaluation.results_json import from_json, to_json
from mmnar_lightning.report.public import public
from mmnar_lightning.runs import results as saved
from mmnar_lightning.runs import single
from tests.helpers.small_runs import compose

ROWS = 700
WITH_SCAN = 60
"""Rows with the rarest modality."""


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Days that depend on labs, on a note and on whether there is one; a few are unknown."""
    generator = np.random.default_rng(2)
    root = tmp_path_factory.mktemp("cohort")
    severity = generator.normal(size=ROWS)
    note = generator.random(ROWS) < 0.5
    scan = np.arange(ROWS) < WITH_SCAN
    days = 5 + 2 * severity + 1.5 * note + generator.exponential(1, ROWS)
    flags = {"labs": np.ones(ROWS, bool), "note": note, "scan": scan}
    pl.DataFrame(
        {
            "row_id": range(ROWS),
            "subject_id": [f"p{number // 2:04d}" for number in range(ROWS)],
            "subgroup/sex": np.where(generator.random(ROWS) < 0.5, "female", "male"),
            "subgroup/ward": np.where(np.arange(ROWS) % 50 < 2, "small", np.where(severity > 0, "north", "south")),
            "value/days": np.where(generator.random(ROWS) < 0.1, np.nan, days),
            **{f"present/{name}": flag for name, flag in flags.items()},
        }
    ).write_parquet(root / "cohort.parquet")
    for name in flags:
        (root / "modalities" / name).mkdir(parents=True)
        columns = {"row_id": range(ROWS), "seen": severity + 0.3 * generator.normal(size=ROWS)}
        pl.DataFrame(columns).write_parquet(root / "modalities" / name / "table.parquet")
    return root


def words(root: Path, *more: str) -> list[str]:
    return [f"paths.data={root / 'data'}", f"paths.runs={root / 'runs'}", "trainer.max_epochs=12", *more]


def layered(cohort: Path, root: Path, *more: str) -> ExperimentConfig:
    """Settings of which some are read by networks alone."""
    config = compose(cohort, *words(root, *more))
    config.given = frozenset()
    return config


@pytest.fixture(scope="module")
def run(cohort: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("network")
    return single.train(compose(cohort, *words(root, "optim.lr=3e-3", "rectifier.gate=false")))


def test_numbers_are_learned_and_scored_by_pattern_in_their_units(run):
    found = saved.read(run)
    assert found.values is not None
    assert found.rectified_values is not None
    whole = found.rectified_values["days"].all
    assert whole.r2.value > 0.6
    assert 0.3 < whole.mae.value < whole.rmse.value < 2
    assert whole.mae.low < whole.mae.value < whole.mae.high
    assert sum(cell.count for cell in found.values["days"].patterns.values()) == whole.count
    assert found.tasks == {}
    assert found.net_benefit is None


def test_the_scores_are_those_of_predictions_parquet(run):
    table = pl.read_parquet(run / "predictions.parquet")
    known = table.drop_nulls("value/days")
    assert 0 < known.height < table.height
    for name, prefix in (("values", "predicted"), ("rectified_values", "rectified")):
        scores = getattr(saved.read(run), name)["days"]
        for label, cell in scores.cells.items():
            own = known if label == "all" else known.filter(pl.col("pattern") == label)
            error = own[f"{prefix}/days"] - own["value/days"]
            assert cell.count == own.height
            if own.height:
                assert cell.mean_error.value == pytest.approx(error.mean())
                assert cell.mae.value == pytest.approx(error.abs().mean())


def test_the_rectifier_adds_its_offset_in_days(run):
    table, found = pl.read_parquet(run / "predictions.parquet"), saved.read(run)
    assert found.rectifier is not None
    offsets = found.rectifier["days"]
    assert offsets.scale == "units of the task"
    added = table.group_by("pattern").agg(((pl.col("rectified/days") - pl.col("predicted/days")).mean()).alias("tau"))
    for pattern, tau in added.rows():
        assert tau == pytest.approx(offsets.patterns[pattern].tau, abs=1e-4)


def test_public_results_hide_small_cells_and_one_that_they_would_follow_from(run):
    found = saved.read(run)
    assert found.values is not None
    sizes = {name: cell.count for name, cell in found.values["days"].patterns.items() if cell.count}
    small = min(sizes, key=lambda name: sizes[name])
    shown = public(found, sizes[small] + 1)
    cells = shown.values["days"].patterns
    hidden = {name for name in sizes if cells[name] == MASKED_VALUES}
    assert small in hidden
    assert len(hidden) >= 2
    assert {name for name in sizes if shown.rectified_values["days"].patterns[name] == MASKED_VALUES} == hidden
    assert from_json(Results, json.loads(json.dumps(to_json(found)))) == found


def test_subgroups_are_scored_after_the_rectifier_with_their_largest_gap(run):
    found = saved.read(run)
    assert found.value_subgroups is not None
    known = pl.read_parquet(run / "predictions.parquet").drop_nulls("value/days")
    for attribute in ("sex", "ward"):
        scores = found.value_subgroups[attribute].tasks["days"]
        assert sum(cell.count for cell in scores.cells.values()) == known.height
        for level, cell in scores.levels.items():
            own = known.filter(pl.col(f"subgroup/{attribute}") == level)
            assert cell.count == own.height
            assert cell.mae.value == pytest.approx((own["rectified/days"] - own["value/days"]).abs().mean())
    gap = found.value_subgroups["sex"].tasks["days"].gaps["mae"]
    levels = found.value_subgroups["sex"].tasks["days"].levels
    assert gap.difference.value == pytest.approx(levels[gap.higher].mae.value - levels[gap.lower].mae.value)
    assert gap.difference.low < gap.difference.value < gap.difference.high


def test_a_small_level_is_hidden_and_another_from_which_it_would_follow(run, capsys):
    found = saved.read(run)
    sizes = {level: cell.count for level, cell in found.value_subgroups["ward"].tasks["days"].cells.items()}
    shown = public(found, min(sizes.values()) + 1).value_subgroups["ward"].tasks["days"]
    assert len(sizes) == 3
    assert len(shown.cells) == 1, "the small level and the smaller of the others"
    assert not shown.gaps
    assert public(found, 1, totals_only=True).value_subgroups is None
    assert main(["show", f"run={run}", "subgroups"]) == 0
    assert "largest gap" in capsys.readouterr().out


def test_the_stored_model_predicts_the_same_numbers(run, cohort):
    model = mmnar_lightning.load(run)
    table = pl.read_parquet(run / "predictions.parquet")
    source = pl.read_parquet(cohort / "cohort.parquet")
    frame = source.select("row_id", pl.col("^present/.*$"))
    for name in ("labs", "note", "scan"):
        values = pl.read_parquet(cohort / "modalities" / name / "table.parquet")["seen"].alias(f"{name}/seen")
        frame = frame.with_columns(values)
    predicted = model.predict(frame.drop("row_id")).frame(model.tasks)
    assert [name for name in predicted.columns if "days" in name] == ["predicted/days", "rectified/days"]
    rows = table["row_id"].to_list()
    for column in ("predicted/days", "rectified/days"):
        assert predicted[column].gather(rows).to_list() == pytest.approx(table[column].to_list(), abs=1e-4)
    with pytest.raises(mmnar_lightning.blueprint.SavedModelError, match="have no probability"):
        _ = model.predict(frame.drop("row_id")).probability


@pytest.mark.parametrize("name", ["logistic_regression", "boosted_trees", "mask_only"])
def test_baselines_that_can_predict_numbers(cohort, tmp_path, name):
    found = saved.read(single.train(layered(cohort, tmp_path, f"experiment=custom,baselines/{name}")))
    assert found.values is not None
    r2 = found.values["days"].all.r2.value
    assert r2 > (0.02 if name == "mask_only" else 0.6)


@pytest.mark.parametrize("more", [(), ("experiment=custom,baselines/logistic_regression",)])
def test_inner_folds_average_numbers(cohort, tmp_path, more):
    epochs = [] if more else ["trainer.max_epochs=5", "optim.lr=1e-2"]
    found = saved.read(single.train(layered(cohort, tmp_path, "evaluation.inner_folds=2", *epochs, *more)))
    assert found.values is not None
    assert found.values["days"].all.r2.value > 0.6


@pytest.mark.parametrize(
    "given",
    [
        "experiment=custom,baselines/published_score",
        "experiment=custom,baselines/muse",
        "experiment=custom,baselines/pattern_submodels",
        "evaluation.blend=true",
        "objective.focal_gamma=2",
    ],
)
def test_what_needs_two_classes_is_refused_before_anything_is_trained(cohort, tmp_path, given):
    with pytest.raises(ConfigError, match="tasks of this cohort are numbers"):
        single.train(layered(cohort, tmp_path, given))
    assert not list(tmp_path.glob("runs/*/*/checkpoints"))


def test_the_page_has_errors_by_pattern_and_offsets_in_words(run, cohort, tmp_path):
    words_of = ["report", f"run={run}", f"out={tmp_path}", f"paths.data={run.parents[2] / 'data'}"]
    assert main(words_of) == 0
    page = (tmp_path / "report.html").read_text()
    for text in (
        "Days: mean absolute error by pattern",
        "Days: mean error by pattern",
        "units of the task",
        "R²",
        "mean absolute error by sex",
    ):
        assert text.lower() in page.lower(), text
    whole = saved.read(run).rectified_values["days"].all
    assert f"{whole.mae.value:.2f}" in page
    assert "AUROC" not in page


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["export"], "the tasks of this model are numbers"),
        (["export", "to=meds"], "predicts numbers, and `to=meds` writes outcomes that are yes or no"),
        (["evaluate", "evaluation.elsewhere=carried"], "scores outcomes that are yes or no"),
        (["evaluate", "evaluation.blend=true"], "set evaluation.blend=false"),
        (["evaluate", "diagnostics.parts=true"], "set diagnostics.parts=false"),
    ],
)
def test_commands_for_yes_or_no_refuse_a_run_of_numbers(run, capsys, command, message):
    assert main([command[0], f"run={run}", *command[1:]]) == 1
    assert message in capsys.readouterr().out
