"""Trained on one cohort, tested on another: custom cohorts, simulated releases, and the open demos both ways."""

import json
import os
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from omegaconf import DictConfig, OmegaConf

from data_modules import patterns
from data_modules.loading.alignment import Source, TransferError, align
from mmnar_lightning.config.compose import load
from mmnar_lightning.config.experiment import ConfigError, ExperimentConfig
from mmnar_lightning.runs import build, folders, single
from mmnar_lightning.runs.transfer import target_config
from tests.conftest import write_custom_cohort
from tests.helpers.paths import ROOT, shared

QUICK = [
    "trainer.max_epochs=2", "trainer.progress_bar=false", "trainer.accelerator=cpu", "wandb.enabled=false",
    "evaluation.num_replicates=100",
]  # fmt: skip
SMALL = ["model.fusion.dim=16", "model.fusion.num_heads=2", "loader.batch_size=32"]
Compose = Callable[..., ExperimentConfig]


@pytest.fixture
def settings(workplace: Path) -> Compose:
    write_custom_cohort(workplace / "given", num_subjects=300)
    write_custom_cohort(workplace / "other", num_subjects=400, seed=1)
    target = f"dataset: custom\npaths: {{cohort: {workplace / 'other'}}}\ncohort: {{name: other}}\n"
    (workplace / "elsewhere.yaml").write_text(target)

    def compose(*words: str) -> ExperimentConfig:
        os.environ.pop(folders.RUN_ID_VARIABLE, None)
        given = ["dataset=custom", f"paths.cohort={workplace / 'given'}", "transfer.target=elsewhere.yaml"]
        return load([*given, *QUICK, *SMALL, *words])

    return compose


GATELESS = ("rectifier.gate=false", "rectifier.min_rows=1")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Path]]:
    """Words -> the run with them on two cohorts that no test changes; it is trained when it is first asked for."""
    place = tmp_path_factory.mktemp("transferred")
    write_custom_cohort(place / "given", num_subjects=300)
    write_custom_cohort(place / "other", num_subjects=400, seed=1)
    target = f"dataset: custom\npaths: {{cohort: {place / 'other'}}}\ncohort: {{name: other}}\n"
    (place / "elsewhere.yaml").write_text(target)

    @cache
    def train(*words: str) -> Path:
        os.environ.pop(folders.RUN_ID_VARIABLE, None)
        own = [f"paths.cohort={place / 'given'}", f"transfer.target={place / 'elsewhere.yaml'}"]
        own += [f"paths.{name}={place / name}" for name in ("data", "runs")]
        return single.train(load(["dataset=custom", *own, *QUICK, *SMALL, *words]))

    with shared(place / "given"), shared(place / "other"):
        yield train


def results_of(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "results.json").read_text())


def change(workplace: Path, table: str, edit: Callable[[pl.DataFrame], pl.DataFrame]) -> None:
    path = workplace / "other" / table
    edit(pl.read_parquet(path)).write_parquet(path)


def opened(config: ExperimentConfig):
    datamodule = build.build_datamodule(config)
    datamodule.prepare_data()
    datamodule.setup()
    return datamodule.cohort


def pair(workplace: Path, settings: Compose, *words: str):
    """The source and the target, opened on their own."""
    return opened(settings()), opened(load(["experiment=elsewhere.yaml", *words]))


def test_the_source_is_scored_as_if_there_were_no_target(trained) -> None:
    with_target, without = results_of(trained()), results_of(trained("transfer.target=''"))
    assert without.pop("experiment") == with_target.pop("experiment")
    assert with_target.pop("run_id") != without.pop("run_id")
    assert with_target.pop("target")
    assert with_target == without


def test_the_target_is_scored_by_task_and_pattern_on_its_own_test_rows(settings, workplace) -> None:
    folder = single.train(settings("trainer.max_epochs=25"))
    target = results_of(folder)["target"]
    cohort = opened(load(["experiment=elsewhere.yaml"])).table.filter(split="test")
    predicted = pl.read_parquet(folder / "target" / "predictions.parquet")
    assert predicted["row_id"].to_list() == cohort["row_id"].to_list()
    assert predicted["subject_id"].to_list() == cohort["subject_id"].to_list()
    assert target["split"]["rows"] == cohort.height
    assert set(target["tasks"]) == {"first", "second"}
    cells = target["tasks"]["first"]
    assert sum(cell["count"] for cell in cells["patterns"].values()) == cells["all"]["count"]
    assert cells["all"]["auroc"]["low"] < cells["all"]["auroc"]["value"]
    assert cells["all"]["auroc"]["value"] > 0.65
    assert (target["unseen_pattern_rows"], target["unseen_patterns"]) == (0, [])
    assert (folder / "target" / "figures" / "auroc.png").is_file()
    assert target["cohort"] != results_of(folder)["cohort"]


def test_evaluated_later_the_target_is_the_same(settings, trained) -> None:
    whole = results_of(trained())
    folder = single.train(settings("evaluate=false"))
    assert not (folder / "target").exists()
    again = results_of(single.evaluate(settings(f"run={folder}")))
    assert again["target"]["tasks"] == whole["target"]["tasks"]
    assert again["target"]["rectified"] == whole["target"]["rectified"]


def test_values_are_scaled_by_the_source_s_train_rows(settings, workplace) -> None:
    source, target = pair(workplace, settings)
    rows = target.rows("train")[:5]
    stored = np.array(target.arrays.arrays["table"].values[rows.numpy()])
    own = target.arrays.gather(rows).inputs["table"]
    aligned = align(target, Source.of(source))
    scale = source.arrays.arrays["table"].statistics
    expected = torch.from_numpy((stored - scale.mean) / scale.scale)
    torch.testing.assert_close(aligned.arrays.gather(rows).inputs["table"], expected)
    assert torch.equal(target.arrays.gather(rows).inputs["table"], own)
    assert not torch.allclose(own, expected)


def test_a_modality_that_the_target_lacks_is_absent_and_its_patterns_are_flagged(settings, workplace) -> None:
    change(workplace, "cohort.parquet", lambda cohort: cohort.drop("present/table"))
    target = results_of(single.train(settings()))["target"]
    assert "table is absent from every row: the target lacks it" in target["dropped"]
    assert set(target["tasks"]["first"]["patterns"]) == {"01", "00"}
    assert target["unseen_patterns"] == ["00", "01"] or target["unseen_patterns"] == ["01", "00"]
    assert target["unseen_pattern_rows"] == target["split"]["rows"]


def test_a_modality_that_only_the_target_has_is_not_read(settings, workplace) -> None:
    change(workplace, "cohort.parquet", lambda cohort: cohort.with_columns(pl.lit(True).alias("present/more")))
    table = workplace / "other" / "modalities" / "table" / "table.parquet"
    more = workplace / "other" / "modalities" / "more" / "table.parquet"
    more.parent.mkdir()
    pl.read_parquet(table).write_parquet(more)
    target = results_of(single.train(settings()))["target"]
    assert "more is not read: the source lacks it" in target["dropped"]
    assert set(target["tasks"]["first"]["patterns"]) == {"10", "11"}


def test_what_a_model_of_the_source_cannot_read_is_refused_before_training(settings, workplace) -> None:
    table = "modalities/table/table.parquet"
    usual = pl.read_parquet(workplace / "other" / table)
    change(workplace, table, lambda frame: frame.rename({"c1": "d1"}))
    with pytest.raises(TransferError, match="table: 1 of 5 columns differ, the first is c1 in the source and d1 in"):
        single.train(settings())
    change(workplace, table, lambda frame: frame.drop("d1"))
    with pytest.raises(TransferError, match="table is table of width 5 in the source, but table of width 4"):
        single.train(settings())
    change(workplace, table, lambda _: usual)
    change(workplace, "cohort.parquet", lambda cohort: cohort.rename({"label/second": "label/third"}))
    with pytest.raises(TransferError, match="the target's tasks are first, third; it lacks second"):
        single.train(settings())
    assert not list(workplace.glob("runs/custom/*"))


def flip_calibration(workplace: Path) -> None:
    """Give every calibration row of the target the other label."""
    split = opened(load(["experiment=elsewhere.yaml"])).table["split"]
    other = pl.when(split == "calibration").then(~pl.col("label/first")).otherwise(pl.col("label/first"))
    change(workplace, "cohort.parquet", lambda cohort: cohort.with_columns(other.alias("label/first")))


@pytest.mark.parametrize("origin", ["target", "source"])
def test_labels_of_the_target_s_calibration_rows_count_only_where_the_rectifier_is_fitted_there(
    settings, trained, workplace, origin
) -> None:
    words = [f"transfer.rectifier={origin}", *GATELESS]
    before = results_of(trained(*words))["target"]
    flip_calibration(workplace)
    after = results_of(single.train(settings(*words)))["target"]
    assert before["checkpoint"] == {"rectifier": origin}
    assert before["tasks"] == after["tasks"]
    assert (before["rectified"] == after["rectified"]) is (origin == "source")
    if origin == "source":
        assert before["mean_risk"]["first"]["all"]["labelled"] == 0


def test_a_carried_rectifier_adds_the_source_s_offsets(trained) -> None:
    folder = trained("transfer.rectifier=source", *GATELESS)
    content = results_of(folder)
    source, target = content["rectifier"]["first"], content["target"]["rectifier"]["first"]
    assert target["patterns"] == {name: source["patterns"][name] for name in target["patterns"]}
    predicted = pl.read_parquet(folder / "target" / "predictions.parquet")
    added = predicted.select("pattern", added=pl.col("rectified/first") - pl.col("logit/first"))
    for pattern, group in added.group_by("pattern"):
        np.testing.assert_allclose(group["added"], source["patterns"][pattern[0]]["tau"], atol=1e-9)
    one = (predicted["recalibrated/first"] - predicted["logit/first"]).to_numpy()
    assert np.ptp(one) < 1e-9 < abs(one[0]), "the root of the source's"


def test_a_refitted_rectifier_is_compared_with_none_and_with_the_one_carried_over(trained) -> None:
    target, source = (
        results_of(trained(f"transfer.rectifier={origin}", *GATELESS))["target"] for origin in ("target", "source")
    )
    assert target["carried"] == source["rectified"] != target["rectified"]
    assert target["carried_gain"] == source["rectified_gain"] != target["rectified_gain"]
    assert not {"carried", "carried_gain"} & set(source)
    assert target["recalibrated_gain"] != source["recalibrated_gain"], "each is the root of the rectifier that is used"
    for one in (target, source):
        assert one["recalibrated_gain"]["first"]["brier"] != one["rectified_gain"]["first"]["brier"]
    for task, cell in target["tasks"].items():
        for name in ("auroc", "brier"):
            after = target["rectified"][task]["all"][name]["value"]
            gain = target["rectified_gain"][task][name]
            assert gain["value"] == pytest.approx(after - cell["all"][name]["value"])
            assert gain["low"] <= gain["value"] <= gain["high"]


def test_the_refitted_rectifier_knows_all_calibration_rows_of_the_target(settings, trained) -> None:
    target = results_of(trained())["target"]
    cohort = opened(load(["experiment=elsewhere.yaml"])).table.filter(split="calibration")
    counts = [entry["count"] for entry in target["rectifier"]["first"]["patterns"].values()]
    assert sum(counts) == len(cohort["label/first"].drop_nulls())


def test_a_pattern_that_the_source_does_not_learn_is_nothing_to_the_target(settings) -> None:
    held = settings("loader.held_pattern=[table]")
    assert (held.loader.held_pattern, target_config(held).loader.held_pattern) == (["table"], None)
    target = results_of(single.train(held))["target"]
    cohort = opened(load(["experiment=elsewhere.yaml"])).table.filter(split="calibration")
    counts = [entry["count"] for entry in target["rectifier"]["first"]["patterns"].values()]
    assert sum(counts) == len(cohort["label/first"].drop_nulls())


@pytest.mark.parametrize("baseline", ["boosted_trees", "mask_only"])
def test_baselines_are_tested_on_the_target_too(settings, baseline) -> None:
    epochs = [] if baseline == "boosted_trees" else ["trainer.max_epochs=2"]
    given = [*QUICK[1:], *epochs]
    config = settings()
    words = ["transfer.target=elsewhere.yaml", f"paths.cohort={config.paths.cohort}", *given]
    folder = single.train(load([f"experiment=custom,baselines/{baseline}", *words]))
    target = results_of(folder)["target"]
    assert target["checkpoint"] == {"rectifier": None}
    assert 0.3 < target["tasks"]["first"]["all"]["auroc"]["value"] <= 1


@pytest.mark.parametrize(
    ("words", "reported"),
    [
        (["experiment=transfer", "evaluation.protocol=kfold"], r"transfer\.target=transfer_back: every run's model"),
        (["experiment=transfer", "rectifier.fit=crossfit"], r"transfer\.target=transfer_back: every run's model"),
        (["transfer.rectifier=source"], r"transfer\.rectifier=source needs transfer\.target"),
        (
            ["experiment=transfer", "rectifier.fit=none", "transfer.rectifier=source"],
            r"carries over a rectifier, but rectifier\.fit=none fits none",
        ),
    ],
)
def test_settings_that_make_no_sense_are_refused(words, reported) -> None:
    with pytest.raises(ConfigError, match=reported):
        load(words)


def test_real_patients_are_not_compared_with_simulated_ones(workplace, mimic_demo) -> None:
    with pytest.raises(ConfigError, match=r"paths\.eicu_root names no release, so subjects of eicu would be simulated"):
        single.train(load(["experiment=transfer", f"paths.mimic_root={mimic_demo}", *QUICK]))


def transferred(experiment: str, *words: str) -> dict[str, Any]:
    """results.json of a run that is tested on both databases."""
    os.environ.pop(folders.RUN_ID_VARIABLE, None)
    content = results_of(single.train(load([f"experiment={experiment}", *QUICK, *SMALL, *words])))
    target, other = content["target"], "mimic" if experiment.endswith("_back") else "eicu"
    assert {content["dataset"], target["dataset"]} == {"mimic", "eicu"}
    assert target["dataset"] == other
    assert target["modalities"] == content["modalities"]
    assert target["groups"]["by"] == ("hospital" if other == "eicu" else "year group")
    return content


def mostly_tested(workplace: Path, experiment: str) -> Path:
    """A shipped experiment whose rows are nearly all test or calibration, as suits a target."""
    config = OmegaConf.load(ROOT / "experiments" / f"{experiment}.yaml")
    config.cohort.split = {"train": 0.02, "calibration": 0.28, "val": 0.1, "test": 0.6}
    assert isinstance(config, DictConfig)
    config.pop("transfer")
    OmegaConf.save(config, workplace / f"tested_{experiment}.yaml")
    return workplace / f"tested_{experiment}.yaml"


def test_simulated_releases_transfer_both_ways_better_than_chance(workplace) -> None:
    enough = ["simulate.subjects=1600", "simulate.images=false", "trainer.max_epochs=5", "optim.lr=0.003"]
    shares = {"train": 0.75, "calibration": 0.1, "test": 0.05}
    split = [f"cohort.split.{name}={share}" for name, share in shares.items()]
    # No simulated eICU has respiratoryCharting: inspired oxygen is no input there, and nobody's in the other one.
    for experiment, other, width in (("transfer", "transfer_back", 9), ("transfer_back", "transfer", 8)):
        words = [*enough, *split, f"transfer.target={mostly_tested(workplace, other)}", "rectifier.start_epoch=1"]
        content = transferred(experiment, *words)
        assert len(content["modalities"]) == width
        target = content["target"]
        assert sum(one["count"] for one in target["rectifier"]["in_hospital_mortality"]["patterns"].values()) > 200
        for scored in (target["tasks"], target["rectified"]):
            cell = scored["in_hospital_mortality"]["all"]
            assert cell["count"] == target["split"]["rows"] > 400
            assert 0.5 < cell["auroc"]["low"] < cell["auroc"]["value"] < cell["auroc"]["high"] < 0.9


@pytest.mark.demo
def test_the_open_demos_transfer_both_ways(workplace, mimic_demo_roots, eicu_demo_roots) -> None:
    roots = [f"paths.mimic_root={mimic_demo_roots}", f"paths.eicu_root={eicu_demo_roots}"]
    for experiment in ("transfer_back", "transfer"):
        content = transferred(experiment, *roots)
        assert len(content["modalities"]) == 9
        assert content["target"]["tasks"]["in_hospital_mortality"]["all"]["count"] > 5
    target = content["target"]
    cohort = pl.concat(pl.read_parquet(path) for path in workplace.glob("data/cohorts/transfer_eicu-*/cohort.parquet"))
    assert cohort.height == 1622
    unseen = [patterns.parse(label) for label in target["unseen_patterns"]]
    assert len(unseen) > 5
    assert 0 < target["unseen_pattern_rows"] < target["split"]["rows"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Where both directions find the cohorts of the demos that the first one builds."""
    return f"paths.data={tmp_path_factory.mktemp('care')}"


@pytest.mark.demo
@pytest.mark.parametrize(
    ("experiment", "read", "lacking", "rows"),
    [("transfer_care", 18, "absent from every row", 200), ("transfer_care_back", 16, "not read", 5)],
)
def test_a_model_of_the_care_given_is_scored_in_the_other_demo(
    workplace, data, mimic_demo_roots, eicu_demo_roots, experiment, read, lacking, rows
) -> None:
    """The demo of eICU has no nurseCharting: a model of MIMIC-IV meets rows without the modalities of it."""
    roots = [f"paths.mimic_root={mimic_demo_roots}", f"paths.eicu_root={eicu_demo_roots}"]
    os.environ.pop(folders.RUN_ID_VARIABLE, None)
    words = [
        f"experiment={experiment},baselines/logistic_regression",
        *QUICK[1:],
        *roots,
        data,
        "evaluation.figures=false",
    ]
    content = results_of(single.train(load(words)))
    target = content["target"]
    assert len(content["modalities"]) == read
    for name in ("harmonised_neurology", "harmonised_nurse_vitals"):
        assert any(line.startswith(f"{name} is {lacking}") for line in target["dropped"])
    cell = target["tasks"]["in_hospital_mortality"]["all"]
    assert target["split"]["rows"] >= cell["count"] > rows
    if rows > 100:  # of the other demo, 12 test rows have one death
        assert cell["auroc"]["value"] > 0.5
