"""Several runs whose tasks are numbers: protocols that gather them, and comparisons of them in pairs."""

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import polars as pl
import pytest

from mmnar_lightning.cli import main
from mmnar_lightning.config.experiment import ExperimentConfig
from mmnar_lightning.runs import protocols, single
from mmnar_lightning.runs import results as saved
from tests.end_to_end.test_values import cohort, layered
from tests.helpers.small_runs import compose

FEW = ("trainer.max_epochs=2", "optim.lr=3e-3", "rectifier.gate=false")
__all__ = ["cohort"]  # a fixture


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("several")


@pytest.fixture(scope="module")
def settings(cohort: Path, place: Path) -> Callable[..., ExperimentConfig]:
    return partial(compose, cohort, f"paths.data={place / 'data'}", f"paths.runs={place / 'runs'}", *FEW)


@pytest.fixture(scope="module")
def folds(settings: Callable[..., ExperimentConfig]) -> Path:
    words = ("evaluation.protocol=kfold", "cohort.split.num_folds=3", "evaluation.num_seeds=2")
    return protocols.train(settings(*words))


def test_folds_test_each_row_once_per_seed_and_are_scored_together(folds: Path) -> None:
    table, found = pl.read_parquet(folds / "predictions.parquet"), saved.read(folds)
    assert (table.group_by("row_id", "seed").len()["len"] == 1).all()
    assert table["seed"].n_unique() == 2
    assert table.height == 2 * table["row_id"].n_unique()
    known = table.drop_nulls("value/days")
    assert found.values is not None
    assert found.rectified_values is not None
    for scores, prefix in ((found.values, "predicted"), (found.rectified_values, "rectified")):
        error = known[f"{prefix}/days"] - known["value/days"]
        whole = scores["days"].all
        assert whole.count == known["row_id"].n_unique()
        assert whole.subjects == known["subject_id"].n_unique()
        assert whole.mae is not None
        assert whole.rmse is not None
        assert whole.mae.value == pytest.approx(error.abs().mean())
        assert whole.rmse.value == pytest.approx((error**2).mean() ** 0.5)
        assert sum(cell.count or 0 for cell in scores["days"].patterns.values()) == whole.count
    assert found.value_subgroups is not None
    by_sex = found.value_subgroups["sex"].tasks["days"].levels
    sizes = known.unique("row_id")["subgroup/sex"].value_counts().rows()
    assert {level: cell.count for level, cell in by_sex.items()} == dict(sizes)
    assert found.tasks == {}
    assert found.label_availability is not None
    assert found.label_availability["days"].all.rows == table["row_id"].n_unique()


def test_the_offset_of_a_protocol_is_the_mean_of_its_runs(folds: Path) -> None:
    found = saved.read(folds)
    assert found.rectifier is not None
    assert found.mean_risk is None
    children = [saved.read(path.parent) for path in folds.glob("*/results.json")]
    assert len(children) == 6
    for pattern, offset in found.rectifier["days"].patterns.items():
        each = [own.rectifier["days"].patterns[pattern].tau for own in children if own.rectifier is not None]
        assert offset.tau == pytest.approx(sum(tau for tau in each if tau is not None) / len(each))


def test_a_protocol_has_a_page_and_a_summary(folds: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", f"run={folds}"]) == 0
    printed = capsys.readouterr().out
    assert "6 runs (kfold)" in printed
    assert main(["report", f"run={folds}", f"out={tmp_path}"]) == 0
    assert "mean absolute error by pattern" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_cross_fitted_models_are_averaged_in_the_units_of_the_task(settings: Callable[..., ExperimentConfig]) -> None:
    parent = protocols.train(settings("rectifier.fit=crossfit", "cohort.split.num_folds=3"))
    table = pl.read_parquet(parent / "predictions.parquet")
    each = pl.concat(pl.read_parquet(path) for path in sorted(parent.glob("seed0-*/predictions.parquet")))
    means = each.group_by("row_id").agg(pl.col("predicted/days", "rectified/days").mean()).sort("row_id")
    assert table["row_id"].to_list() == means["row_id"].to_list()
    for name in ("predicted/days", "rectified/days"):
        assert table[name].to_list() == pytest.approx(means[name].to_list())


def test_each_pattern_is_predicted_by_a_model_that_never_saw_it(settings: Callable[..., ExperimentConfig]) -> None:
    found = saved.read(protocols.train(settings("evaluation.protocol=leave_pattern_out", "trainer.max_epochs=1")))
    assert found.values is not None
    assert found.children is not None
    assert found.values["days"].all.count
    held = {child["pattern"] for child in found.children}
    assert held <= set(found.values["days"].patterns)


def test_later_eras_are_predicted_by_models_of_earlier_ones(cohort: Path, place: Path) -> None:
    eras = shutil.copytree(cohort, place / "eras")
    rows = pl.read_parquet(eras / "cohort.parquet")
    rows.with_columns(fold=rows["subject_id"].str.slice(1).cast(pl.Int64) % 3).write_parquet(eras / "cohort.parquet")
    words = (f"paths.data={place / 'data'}", f"paths.runs={place / 'runs'}", *FEW, "trainer.max_epochs=1")
    parent = protocols.train(compose(eras, *words, "evaluation.protocol=temporal", "cohort.split.num_folds=3"))
    pooled, found = pl.read_parquet(parent / "predictions.parquet"), saved.read(parent)
    for era in (1, 2):
        own = pl.read_parquet(parent / f"seed0-from{era}" / "predictions.parquet").filter(fold=era)
        assert pooled.filter(fold=era)["predicted/days"].equals(own["predicted/days"])
    assert set(pooled["fold"]) == {1, 2}
    known = pooled.drop_nulls("value/days")
    assert found.rectified_values is not None
    whole = found.rectified_values["days"].all
    assert whole.count == known.height
    assert whole.mae is not None
    assert whole.mae.value == pytest.approx((known["rectified/days"] - known["value/days"]).abs().mean())


def test_runs_are_compared_in_pairs(
    cohort: Path, settings: Callable[..., ExperimentConfig], place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    network = single.train(settings("trainer.max_epochs=12"))
    constant = single.train(layered(cohort, place, "experiment=custom,baselines/mask_only"))
    capsys.readouterr()
    assert main(["compare", f"runs=[{network},{constant}]", f"out={place / 'out'}"]) == 0
    printed = capsys.readouterr().out
    assert "better" in printed
    assert "1 test of mean absolute errors, corrected together" in printed
    table = pl.read_csv(place / "out" / "comparison.csv")
    assert main(["report", f"runs=[{network},{constant}]", f"out={place / 'out'}"]) == 1
    assert "`mmnar compare` compares them, and each has a page of its own" in capsys.readouterr().out
    assert not (place / "out" / "comparison.html").exists()
    first, second = table.rows(named=True)
    assert first["verdict"] == "not tested"
    assert second["corrected"] < 0.05
    expected = first["mae_value"] - second["mae_value"]
    assert second["mae_difference_value"] == pytest.approx(expected)
    assert second["mae_difference_high"] < 0
    assert second["rows"] == saved.read(network).values["days"].all.count


def test_protocols_are_compared_in_pairs_and_never_with_a_single_run(
    folds: Path, settings: Callable[..., ExperimentConfig], capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("evaluation.protocol=kfold", "cohort.split.num_folds=3", "evaluation.num_seeds=2")
    other = protocols.train(settings(*words, "trainer.max_epochs=1"))
    assert main(["compare", f"runs=[{folds},{other}]"]) == 0
    single_run = next(folds.glob("seed0-fold0"))
    assert main(["compare", f"runs=[{folds},{single_run}]"]) == 1
    assert "were not tested on the same rows of days" in capsys.readouterr().out


def test_numbers_are_not_compared_with_outcomes(
    folds: Path, settings: Callable[..., ExperimentConfig], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    frame = pl.read_parquet(folds / "predictions.parquet")
    outcomes = tmp_path / "outcomes"
    outcomes.mkdir()
    renamed = frame.rename({"value/days": "label/days", "predicted/days": "logit/days"}).with_columns(
        pl.col("label/days") > 5
    )
    renamed.write_parquet(outcomes / "predictions.parquet")
    assert main(["compare", f"runs=[{outcomes},{folds}]"]) == 1
    assert "predicts numbers, and others outcomes that are yes or no" in capsys.readouterr().out
