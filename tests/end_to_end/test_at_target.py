"""Rectifiers fitted at the target: over hospitals of a simulated eICU, and over eras of a custom cohort."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from sklearn.metrics import brier_score_loss, roc_auc_score

from mmnar_lightning.config.compose import load
from mmnar_lightning.config.experiment import ConfigError, ExperimentConfig
from mmnar_lightning.evaluation.predict import predict
from mmnar_lightning.runs import build, protocols
from tests.conftest import write_custom_cohort

QUICK = (
    "trainer.max_epochs=2", "trainer.progress_bar=false", "trainer.accelerator=cpu", "wandb.enabled=false",
    "evaluation.num_replicates=100", "model.fusion.dim=8", "model.fusion.num_heads=2", "loader.batch_size=64",
    "rectifier.gate=false", "rectifier.min_rows=4", "cohort.split.num_folds=3",
)  # fmt: skip
EICU = (
    "experiment=eicu,protocols/leave_hospital_out", "paths.eicu_root=''", "simulate.subjects=700",
    "cohort.modalities=[demographics,apache,infusions]",
    "cohort.tasks=[in_hospital_mortality]", "embed.text.encoder=none", "cohort.split.target_calibration=0.4",
)  # fmt: skip
TASK = "in_hospital_mortality"


@pytest.fixture(scope="module")
def hospitals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The parent of a run whose folds are hospitals, with a share of each fold for its rectifier."""
    place = tmp_path_factory.mktemp("hospitals")
    return protocols.train(load([*EICU, *QUICK, f"paths.data={place / 'data'}", f"paths.runs={place}"]))


def children_of(parent: Path) -> list[Path]:
    return sorted(path.parent for path in parent.glob("*/config.yaml"))


def read(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "results.json").read_text())


def opened(config: ExperimentConfig):
    datamodule = build.build_datamodule(config)
    datamodule.prepare_data()
    datamodule.setup()
    return datamodule


def test_over_all_folds_each_subject_is_tested_or_fits_a_rectifier_in_its_own_hospital(hospitals: Path) -> None:
    held: list[str] = []
    for fold, child in enumerate(children_of(hospitals)):
        table = opened(load([f"experiment={child / 'config.yaml'}"])).cohort.table
        own = pl.col("fold") == fold
        assert set(table.filter(own)["split"]) == {"test", "calibration"}
        assert set(table.filter(~own)["split"]) == {"train", "val"}
        assert table.filter(own, split="test")["row_id"].to_list() == predictions(child)["row_id"].to_list()
        held += table.filter(own)["subject_id"].unique().to_list()
    assert sorted(held) == sorted(table["subject_id"].unique())
    pooled = predictions(hospitals)
    assert pooled["row_id"].is_unique().all()
    assert 0.3 < 1 - pooled.height / table.height < 0.5, "about the share is calibration"


def test_all_calibration_rows_fit_the_rectifier_and_none_of_them_can_be_scored_by_it(hospitals: Path) -> None:
    child = children_of(hospitals)[1]
    config = load([f"experiment={child / 'config.yaml'}"])
    datamodule = opened(config)
    cohort = datamodule.cohort
    weights = torch.load(child / "checkpoints" / "best.ckpt", weights_only=True)["state_dict"]
    assert not [name for name in weights if name.startswith("loss_offset.")], "labels of the target in the loss"
    calibration = cohort.rows("calibration")
    subjects = set(cohort.arrays.subject[calibration].tolist())
    assert set(weights["rectifier.fitted_subjects"].nonzero().flatten().tolist()) == subjects
    table = read(child)["rectifier"][TASK]["patterns"]
    known = int(cohort.arrays.label_mask[calibration].sum())
    assert sum(entry["count"] for entry in table.values()) == known
    module = build.build_module(config, cohort)
    module.load_state_dict(weights)
    rows = predict(module, datamodule.rows_dataloader(calibration[:5]), torch.device("cpu"))
    with pytest.raises(ValueError, match="5 of 5 rows belong to subjects that the rectifier was fitted on"):
        module.rectifier(rows.logits, rows.present, rows.subject, cohort.fingerprint)


def test_the_gain_is_the_mean_over_folds_of_the_scores_after_the_rectifier_minus_those_before(hospitals: Path) -> None:
    pooled = predictions(hospitals).drop_nulls(f"label/{TASK}")
    gain = read(hospitals)["rectified_gain"][TASK]
    assert gain["count"] == pooled.height
    for name, metric in (("auroc", roc_auc_score), ("brier", brier_score_loss)):
        expected = [
            metric(rows[f"label/{TASK}"], risk(rows, "rectified")) - metric(rows[f"label/{TASK}"], risk(rows, "logit"))
            for _, rows in pooled.group_by("fold")
        ]
        assert gain[name]["value"] == pytest.approx(np.mean(expected), abs=1e-6)
        own = [read(child)["rectified_gain"][TASK][name]["value"] for child in children_of(hospitals)]
        assert gain[name]["value"] == pytest.approx(np.mean(own), abs=1e-6)
        assert gain[name]["low"] < gain[name]["high"]
        assert gain[name]["num_parts"] == 3
    assert gain["brier"]["value"] != 0


def test_beside_it_is_the_gain_of_one_offset_for_all_patterns_of_a_fold(hospitals: Path) -> None:
    pooled = predictions(hospitals).drop_nulls(f"label/{TASK}")
    expected = []
    for fold, child in enumerate(children_of(hospitals)):
        rows = pooled.filter(fold=fold)
        added = (rows[f"recalibrated/{TASK}"] - rows[f"logit/{TASK}"]).to_numpy()
        root = torch.load(child / "checkpoints" / "best.ckpt", weights_only=True)["state_dict"]["rectifier.offset"]
        np.testing.assert_allclose(added, float(root[0, 0]), atol=1e-9)
        assert abs(float(root[0, 0])) > 1e-3
        label = rows[f"label/{TASK}"]
        risks = [risk(rows, column) for column in ("recalibrated", "logit")]
        expected.append(brier_score_loss(label, risks[0]) - brier_score_loss(label, risks[1]))
        assert read(child)["recalibrated_gain"][TASK]["auroc"]["value"] == pytest.approx(0, abs=1e-12)
    gain = read(hospitals)["recalibrated_gain"][TASK]
    assert gain["count"] == pooled.height
    assert gain["brier"]["value"] == pytest.approx(np.mean(expected), abs=1e-9)
    assert gain["brier"]["num_parts"] == 3


def test_a_regression_refitted_at_the_hospitals_is_scored_on_the_same_rows(hospitals: Path) -> None:
    words = [word.replace("eicu,", "eicu,baselines/logistic_regression,") for word in EICU]
    words += [word for word in QUICK if word.startswith(("trainer.p", "trainer.a", "wandb", "evaluation", "cohort"))]
    words += ["baseline.logistic_regression.refit=joint", f"paths.data={hospitals.parents[1] / 'data'}"]
    parent = protocols.train(load([*words, f"paths.runs={hospitals.parents[1] / 'refit'}"]))
    assert predictions(parent)["row_id"].equals(predictions(hospitals)["row_id"])
    content = read(parent)
    assert content["tasks"][TASK]["all"]["brier"]["num_parts"] == 3
    assert not {"rectified", "rectified_gain", "recalibrated_gain"} & set(content)
    child, same = children_of(parent)[0], children_of(hospitals)[0]
    fit = json.loads((child / "fit.json").read_text())
    assert fit["cohort_fingerprint"] == fit["target_fingerprint"] == read(same)["cohort"], "of one cohort"


def predictions(folder: Path) -> pl.DataFrame:
    return pl.read_parquet(folder / "predictions.parquet")


def risk(rows: pl.DataFrame, column: str) -> np.ndarray:
    return 1 / (1 + np.exp(-rows[f"{column}/{TASK}"].to_numpy()))


@pytest.fixture
def eras(workplace: Path) -> list[str]:
    """Words of a run on a custom cohort with three eras."""
    path = write_custom_cohort(workplace / "given", num_subjects=240) / "cohort.parquet"
    rows = pl.read_parquet(path)
    rows.with_columns(fold=rows["subject_id"].str.slice(1).cast(pl.Int64) % 3).write_parquet(path)
    words = ["cohort.split.target_calibration=0.3", "rectifier.loss_offset=false", "evaluation.protocol=temporal"]
    return ["dataset=custom", f"paths.cohort={path.parent}", *QUICK, *words]


def test_each_era_is_scored_by_the_model_of_all_earlier_ones(eras) -> None:
    parent = protocols.train(load(eras))
    first, second = children_of(parent)
    assert (first.name, second.name) == ("seed0-from1", "seed0-from2")
    assert set(predictions(first)["fold"]) == {1, 2}
    assert set(predictions(second)["fold"]) == {2}
    table = opened(load([f"experiment={second / 'config.yaml'}"])).cohort.table
    assert set(table.filter(pl.col("fold") < 2)["split"]) == {"train", "val"}
    assert set(table.filter(fold=2)["split"]) == {"test", "calibration"}
    pooled, own = predictions(parent), {1: predictions(first).filter(fold=1), 2: predictions(second)}
    for era, rows in own.items():
        assert pooled.filter(fold=era)["logit/first"].equals(rows["logit/first"])
    assert pooled.height == sum(rows.height for rows in own.values())
    results = read(parent)
    assert results["protocol"] == "temporal"
    assert results["rectified_gain"]["first"]["brier"]["num_parts"] == 2
    assert [child["fold"] for child in results["children"]] == [1, 2]


def test_a_share_that_leaves_a_fold_no_calibration_row_is_refused_before_anything_is_trained(eras, workplace) -> None:
    with pytest.raises(ConfigError, match=r"fold 1: cohort\.split\.target_calibration=1e-09 leaves no row"):
        protocols.train(load([*eras, "cohort.split.target_calibration=1e-9"]))
    assert not (workplace / "runs").exists()


def test_an_ordinary_run_has_no_gain(eras) -> None:
    plain = ["evaluation.protocol=split", "cohort.split.target_calibration=0"]
    content = read(protocols.train(load([*eras, *plain, "trainer.max_epochs=1"])))
    assert "rectified" in content
    assert not {"rectified_gain", "recalibrated_gain", "carried", "carried_gain"} & set(content)
