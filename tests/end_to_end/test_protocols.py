"""Protocols of several runs: what the parent holds, resumption, refusals."""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from lightning import Callback
from lightning.pytorch.utilities import rank_zero_only
from sklearn.metrics import brier_score_loss, roc_auc_score

from mmnar_lightning.callbacks.checkpoints import checkpoint_callbacks
from mmnar_lightning.cli import main
from mmnar_lightning.config.compose import load
from mmnar_lightning.config.experiment import ConfigError, ExperimentConfig
from mmnar_lightning.runs import fit, folders, protocols, single
from mmnar_lightning.runs import trainer as training
from tests.conftest import write_custom_cohort
from tests.helpers import forked
from tests.helpers.paths import ROOT
from tests.helpers.results import check_clusters

FOLDS, SEEDS, SUBJECTS = 2, 2, 400
TASKS = ("icu_90d", "mortality_180d")
QUICK = [
    "evaluation.protocol=kfold",
    f"evaluation.num_seeds={SEEDS}",
    "evaluation.num_replicates=100",
    f"cohort.split.num_folds={FOLDS}",
    "trainer.max_epochs=2",
    "trainer.progress_bar=false",
    "trainer.accelerator=cpu",
    "wandb.enabled=false",
    "model.fusion.dim=8",
    "model.fusion.num_heads=2",
    "loader.batch_size=64",
    "rectifier.fit=none",
]
SIMULATED = [
    "experiment=mimic",
    "paths.mimic_root=''",
    f"simulate.subjects={SUBJECTS}",
    "simulate.images=false",
    "cohort.index=every",
    "simulate.images=false",
    "cohort.modalities=[structured]",
    f"cohort.tasks=[{','.join(TASKS)}]",
    "embed.text.encoder=none",
    "embed.image.encoder=none",
]


SMALLER = ("trainer.max_epochs=1", "evaluation.num_seeds=1")
LARGE_VAL = ("cohort.split.val=0.4", "cohort.split.train=0.3")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data that all tests of this file share, and the folder of `whole`."""
    return tmp_path_factory.mktemp("place")


@pytest.fixture(scope="module")
def simulated(place: Path) -> Callable[..., ExperimentConfig]:
    """Settings of a small K-fold run on a simulated release, with words laid over."""
    return lambda *words: load([*SIMULATED, *QUICK, f"paths.data={place / 'data'}", f"paths.runs={place}", *words])


@pytest.fixture(scope="module")
def whole(simulated) -> Path:
    """The parent of a run that nothing disturbed."""
    return protocols.train(simulated())


@pytest.fixture
def custom(workplace: Path) -> Callable[..., ExperimentConfig]:
    """Settings of a smaller run still, on a cohort of one's own."""
    given = write_custom_cohort(workplace / "given")
    return lambda *words: load(["dataset=custom", f"paths.cohort={given}", *QUICK, *SMALLER, *words])


@pytest.fixture(autouse=True)
def clean_environment() -> Iterator[None]:
    os.environ.pop(folders.RUN_ID_VARIABLE, None)
    yield
    assert folders.RUN_ID_VARIABLE not in os.environ, "the next run of this process would have no folder of its own"


def results_of(folder: Path) -> dict:
    return {key: value for key, value in json.loads((folder / "results.json").read_text()).items() if key != "run_id"}


def predictions_of(folder: Path) -> pl.DataFrame:
    return pl.read_parquet(folder / "predictions.parquet")


def children_of(folder: Path) -> list[str]:
    return sorted(path.parent.name for path in folder.glob("*/config.yaml"))


def test_every_subject_is_tested_once_a_seed_by_the_run_whose_fold_it_is_in(whole: Path, place: Path) -> None:
    assert children_of(whole) == ["seed0-fold0", "seed0-fold1", "seed1-fold0", "seed1-fold1"]
    pooled = predictions_of(whole)
    cohorts = [pl.read_parquet(path) for path in place.glob("data/cohorts/*/cohort.parquet")]
    assert len(cohorts) == FOLDS, "each fold has a cohort of its own, and both seeds share it"
    fold_of = cohorts[0].select(pl.col("row_id").cast(pl.Int64), drawn=pl.col("fold").cast(pl.Int64))
    for seed in range(SEEDS):
        rows = pooled.filter(pl.col("seed") == seed).join(fold_of, on="row_id", how="full")
        assert rows.height == fold_of.height
        assert rows["fold"].equals(rows["drawn"], null_equal=False)
    one, two = (pooled.filter(pl.col("seed") == seed)["logit/icu_90d"] for seed in range(SEEDS))
    assert not one.equals(two)


def test_the_gathered_figures_are_means_over_folds_and_seeds(whole: Path) -> None:
    pooled, results = predictions_of(whole), results_of(whole)
    for task in TASKS:
        known = pooled.drop_nulls(f"label/{task}").select(
            "seed", "fold", "row_id", "subject_id", label=f"label/{task}", probability=f"probability/{task}"
        )
        parts = [known.filter(seed=seed, fold=fold) for seed in range(SEEDS) for fold in range(FOLDS)]
        seeds = [known.filter(seed=seed) for seed in range(SEEDS)]
        cell = results["tasks"][task]["all"]
        assert cell["count"] == known["row_id"].n_unique()
        assert cell["positives"] == seeds[0]["label"].sum()
        for name, function in (("auroc", roc_auc_score), ("brier", brier_score_loss)):
            scores = [function(part["label"], part["probability"]) for part in parts]
            assert cell[name]["value"] == pytest.approx(np.mean(scores))
            assert cell[name]["num_parts"] == FOLDS * SEEDS
            assert cell[name]["low"] < cell[name]["value"] < cell[name]["high"]
        by_child = [results_of(whole / name)["tasks"][task]["all"] for name in children_of(whole)]
        for name in ("auroc", "average_precision", "brier"):
            assert cell[name]["value"] == pytest.approx(np.mean([child[name]["value"] for child in by_child]))
        assert sum(cell["reliability"]["count"]) == cell["count"], "rows are counted once a seed"
        assert known["subject_id"].n_unique() < known["row_id"].n_unique(), "no subject has several rows"
        check_clusters(cell, pooled, task, num_replicates=100, parts=True)
    assert len({child["cohort"] for child in results["children"]}) == FOLDS
    assert {path.name for path in (whole / "figures").iterdir()} >= {"auroc.png", "reliability_icu_90d.png"}


def test_gathered_groups_hold_each_row_once_by_the_mean_of_the_seeds_and_draw_whole_subjects(whole: Path) -> None:
    pooled, groups = predictions_of(whole), results_of(whole)["groups"]["tasks"]
    logits = pl.col("^logit/.*$").mean()
    rows = pooled.group_by("row_id").agg(
        pl.col("subject_id", "group", "^label/.*$").first(), pl.col("fold").first(), logits
    )
    rows = rows.with_columns(seed=0)
    for task in TASKS:
        cells = groups[task]["groups"]
        assert len(cells) > 1
        several = rows.filter(pl.struct("group", "subject_id").is_duplicated())
        assert several["group"].n_unique() == len(cells), "a group has no subject with several rows"
        for name, cell in cells.items():
            own = rows.filter(pl.col("group") == name)
            assert cell["count"] == own[f"label/{task}"].drop_nulls().len()
            check_clusters(cell, own, task, num_replicates=100, parts=True)


def test_one_fold_run_alone_is_the_run_of_the_parent(whole: Path, simulated, tmp_path: Path) -> None:
    words = ("evaluation.protocol=split", "evaluation.num_seeds=1", "cohort.split.test_fold=1", "seed=1")
    alone = protocols.train(simulated(*words, f"paths.runs={tmp_path}"))
    assert results_of(alone) == results_of(whole / "seed1-fold1")


class Stop(Callback):
    """Ends the second run as a crash would, after its first epoch was saved."""

    starts = 0

    def on_train_epoch_start(self, trainer, pl_module) -> None:
        Stop.starts += 1
        if Stop.starts == 4:
            raise RuntimeError("stopped on purpose")


def test_a_parent_stopped_within_its_second_run_and_resumed_ends_as_if_never_stopped(
    whole: Path, simulated, tmp_path: Path, monkeypatch
) -> None:
    usual, here = checkpoint_callbacks, f"paths.runs={tmp_path}"
    monkeypatch.setattr(training, "checkpoint_callbacks", lambda *given: [Stop(), *usual(*given)])
    with pytest.raises(RuntimeError, match="on purpose"):
        protocols.train(simulated(here))
    monkeypatch.setattr(training, "checkpoint_callbacks", usual)
    assert folders.RUN_ID_VARIABLE not in os.environ, "the next run would take the folder of the stopped one"
    (parent,) = tmp_path.glob("mimic/*")
    assert children_of(parent) == ["seed0-fold0", "seed0-fold1"]
    assert not (parent / "results.json").exists()
    last = torch.load(parent / "seed0-fold1" / folders.LAST, weights_only=True)
    assert last["epoch"] == 0
    before = (parent / "seed0-fold0" / folders.LAST).stat().st_mtime_ns
    assert protocols.train(simulated(here, "resume=last")) == parent
    assert (parent / "seed0-fold0" / folders.LAST).stat().st_mtime_ns == before
    assert len(list((parent / "seed0-fold1" / "logs").iterdir())) == 2, "the second run went on, and began not anew"
    assert results_of(parent) == results_of(whole)
    assert predictions_of(parent).equals(predictions_of(whole))


def test_a_finished_parent_is_only_gathered_again_and_may_get_more_seeds(custom, monkeypatch) -> None:
    parent = protocols.train(custom())
    before = (parent / "results.json").read_bytes()
    (parent / "results.json").unlink()
    with monkeypatch.context() as other_process:
        other_process.setattr(rank_zero_only, "rank", 1)
        protocols.train(custom("resume=last"))
    assert not (parent / "results.json").exists(), "two processes would write at once"
    usual = single.train
    monkeypatch.setattr(single, "train", lambda *_: pytest.fail("a finished run was trained again"))
    assert protocols.train(custom("resume=last")) == parent
    assert (parent / "results.json").read_bytes() == before
    trained = []
    monkeypatch.setattr(single, "train", lambda config: trained.append(config.seed) or usual(config))
    protocols.train(custom(f"resume={parent}", "evaluation.num_seeds=2"))
    assert trained == [1, 1]
    assert predictions_of(parent)["seed"].n_unique() == 2


def test_test_rows_that_were_not_read_are_read_and_gathered_by_evaluate_or_by_going_on(
    custom, workplace: Path, monkeypatch
) -> None:
    expected = protocols.train(custom("paths.runs=read"))
    parent = protocols.train(custom("evaluate=false"))
    assert not list(parent.rglob("results.json"))
    assert not list(parent.rglob("predictions.parquet"))
    gone_on = shutil.copytree(parent, parent.with_name("gone_on"))
    monkeypatch.setattr(fit, "_fit", lambda *_: pytest.fail("a trained run was trained again"))
    assert protocols.evaluate(custom(f"run={parent}")) == parent
    assert protocols.train(custom(f"resume={gone_on}")) == gone_on
    assert results_of(parent) == results_of(gone_on) == results_of(expected)


def test_seeds_without_folds_share_one_test_split(custom) -> None:
    parent = protocols.train(custom("evaluation.protocol=split", "evaluation.num_seeds=2", "seed=5"))
    assert children_of(parent) == ["seed5", "seed6"]
    results = results_of(parent)
    by_child = [results_of(parent / name) for name in children_of(parent)]
    assert results["split"] == by_child[0]["split"]
    for task in ("first", "second"):
        values = [child["tasks"][task]["all"]["auroc"]["value"] for child in by_child]
        assert values[0] != values[1]
        assert results["tasks"][task]["all"]["auroc"]["value"] == pytest.approx(np.mean(values))
        assert results["tasks"][task]["all"]["count"] == by_child[0]["tasks"][task]["all"]["count"]


def test_a_parent_is_not_taken_for_a_run_nor_a_run_for_a_parent(custom) -> None:
    with pytest.raises(ConfigError, match=r"has no run with children\.json"):
        protocols.train(custom("resume=last"))
    parent = protocols.train(custom())
    with pytest.raises(ConfigError, match=r"has no run with checkpoints/last\.ckpt"):
        protocols.train(custom("resume=last", "evaluation.protocol=split"))
    with pytest.raises(ConfigError, match=r"has no run with config\.yaml"):
        folders.newest_run(custom(), folders.CONFIG)
    with pytest.raises(ConfigError, match=r"evaluation\.protocol: kfold before, split now"):
        protocols.train(custom(f"resume={parent}", "evaluation.protocol=split", "evaluation.num_seeds=2"))
    with pytest.raises(ConfigError, match=r"optim\.lr: 0\.0002 before, 0\.1 now"):
        protocols.train(custom("resume=last", "optim.lr=0.1"))
    assert sorted(path.name for path in parent.parent.iterdir()) == [parent.name], "a refusal left a folder"


CROSSFIT = ("evaluation.protocol=split", "rectifier.fit=crossfit", "rectifier.start_epoch=0", "trainer.max_epochs=2")


def test_cross_fitted_models_share_the_test_rows_and_the_mean_of_their_logits_is_scored(custom, workplace) -> None:
    parent = protocols.train(custom(*CROSSFIT, "evaluation.num_seeds=2", "cohort.split.num_folds=3"))
    names = children_of(parent)
    assert names == [f"seed{seed}-fold{fold}" for seed in range(2) for fold in range(3)]
    pooled, results = predictions_of(parent), results_of(parent)
    cohorts = [pl.read_parquet(path) for path in workplace.glob("data/cohorts/*/cohort.parquet")]
    assert len(cohorts) == 3
    for seed in range(2):
        models = [predictions_of(parent / name) for name in names if name.startswith(f"seed{seed}")]
        found = pooled.filter(pl.col("seed") == seed)
        assert found["row_id"].to_list() == cohorts[0].filter(split="test")["row_id"].to_list()
        for column in ("logit/first", "rectified/first"):
            np.testing.assert_allclose(found[column], np.mean([model[column] for model in models], axis=0))
    known = [pooled.filter(pl.col("seed") == seed).drop_nulls("label/first") for seed in range(2)]
    for key, column in (("tasks", "logit/first"), ("rectified", "rectified/first")):
        cell = results[key]["first"]["all"]
        values = [roc_auc_score(rows["label/first"], rows[column]) for rows in known]
        assert cell["auroc"]["value"] == pytest.approx(np.mean(values))
        assert (cell["count"], cell["auroc"]["num_parts"]) == (known[0].height, 2)


def test_a_cross_fitted_rectifier_knows_its_fold_alone_and_the_offset_of_the_loss_the_next_one(
    custom, workplace
) -> None:
    parent = protocols.train(custom(*CROSSFIT, "cohort.split.num_folds=3"))
    for path in workplace.glob("data/cohorts/*/cohort.parquet"):
        rows = pl.read_parquet(path)
        held = json.loads((path.parent / "manifest.json").read_text())["config"]["split"]["crossfit_fold"]
        state = torch.load(parent / f"seed0-fold{held}" / folders.BEST, weights_only=True)["state_dict"]
        for name, fold in (("rectifier", held), ("loss_offset", (held + 1) % 3)):
            known = set(torch.nonzero(state[f"{name}.fitted_subjects"]).flatten().tolist())
            assert known == set(rows.filter(split="calibration", fold=fold)["subject"].to_list()), name
            assert not known & set(rows.filter(pl.col("split") != "calibration")["subject"].to_list())


def test_cross_fitting_within_folds_is_refused_and_one_cross_fitted_fold_is_a_run(custom, capsys) -> None:
    assert main(["train", "evaluation.protocol=kfold", "rectifier.fit=crossfit"]) == 1
    assert "rectifier.fit=crossfit cannot be used with evaluation.protocol=kfold" in capsys.readouterr().out
    with pytest.raises(ValueError, match="set one of them"):
        protocols.train(custom(*CROSSFIT, "cohort.split.test_fold=1", "cohort.split.num_folds=3"))
    alone = protocols.train(custom(*CROSSFIT, "cohort.split.crossfit_fold=1", "cohort.split.num_folds=3"))
    assert not (alone / folders.CHILDREN).exists()


def test_finished_runs_are_not_gathered_with_runs_of_other_files(custom, workplace: Path) -> None:
    parent = protocols.train(custom())
    path = workplace / "given" / "cohort.parquet"
    pl.read_parquet(path).with_columns(**{"label/first": ~pl.col("label/first")}).write_parquet(path)
    with pytest.raises(ConfigError, match=r"seed0-fold0 was trained on the cohort \w+, but its fold is now \w+"):
        protocols.train(custom(f"resume={parent}"))


def test_more_folds_than_subjects_fill_are_refused_before_anything_is_trained(custom, workplace: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"has no subjects: cohort\.split\.num_folds=127 is too many for 120 subjects"
    ):
        protocols.train(custom("cohort.split.num_folds=127", *LARGE_VAL))
    assert not (workplace / "runs").exists()


def test_a_fold_with_one_class_is_said_and_left_out_of_the_mean_with_its_count(custom, workplace, capsys) -> None:
    path = workplace / "given" / "cohort.parquet"
    rows = pl.read_parquet(path)
    fold = (rows["subject_id"].str.slice(1).cast(pl.Int64) % 3).alias("fold")
    rows.with_columns(fold, pl.col("label/first") & (fold > 0)).write_parquet(path)
    parent = protocols.train(custom("cohort.split.num_folds=3", *LARGE_VAL))
    said = capsys.readouterr().out
    assert "first: fold 0 lacks positives or negatives" in said
    assert "first: undefined, and excluded from the mean: auroc in 1, average precision in 1 of 3" in said
    scored = results_of(parent)["tasks"]["first"]["all"]
    children = [results_of(parent / name)["tasks"]["first"]["all"]["auroc"]["value"] for name in children_of(parent)]
    assert children[0] is None
    assert scored["auroc"]["value"] == pytest.approx(np.mean(children[1:]))
    assert (scored["auroc"]["num_parts"], scored["brier"]["num_parts"]) == (2, 3)


def test_every_fold_and_one_fold_are_not_asked_together(capsys) -> None:
    assert main(["train", "evaluation.protocol=kfold", "cohort.split.test_fold=1"]) == 1
    assert (
        "evaluation.protocol=kfold runs every fold, but cohort.split.test_fold=1 names one" in capsys.readouterr().out
    )
    assert main(["train", "evaluation.num_seeds=0"]) == 1
    assert "evaluation.num_seeds=0 must be at least 1" in capsys.readouterr().out


def test_two_processes_train_every_fold_together_and_one_of_them_gathers(custom, workplace: Path) -> None:
    words = [*QUICK, *SMALLER, "dataset=custom", "paths.cohort=given", "trainer.devices=2"]
    command = ["-m", "mmnar_lightning", "train", *words]
    ended = forked.finished(command, workplace, {**os.environ, "PYTHONPATH": str(ROOT)})
    assert ended.returncode == 0, ended.stderr[-2000:]
    assert ended.stdout.count("run 2 of 2") == 1, "one process speaks"
    (parent,) = (workplace / "runs" / "custom").iterdir()
    assert children_of(parent) == ["seed0-fold0", "seed0-fold1"]
    assert predictions_of(parent)["row_id"].is_unique().all()
    assert results_of(parent)["tasks"]["first"]["all"]["auroc"]["num_parts"] == FOLDS


LEAVE_OUT = ("evaluation.protocol=leave_pattern_out", "rectifier.fit=calibration", "rectifier.start_epoch=0")


def test_a_pattern_that_is_left_out_is_met_at_test_for_the_first_time(custom, workplace: Path) -> None:
    parent = protocols.train(custom(*LEAVE_OUT))
    assert children_of(parent) == ["seed0-without-10", "seed0-without-11"], "the most frequent first"
    results, pooled = results_of(parent), predictions_of(parent)
    (cohort,) = (pl.read_parquet(path) for path in workplace.glob("data/cohorts/*/cohort.parquet"))
    assert sorted(pooled["row_id"]) == sorted(cohort.filter(split="test")["row_id"])
    assert pooled["unseen_pattern"].all()
    for name, label in zip(children_of(parent), ("10", "11"), strict=True):
        own = predictions_of(parent / name)
        assert (own["unseen_pattern"] == (own["pattern"] == label)).all()
        assert (
            pooled.filter(pattern=label)["logit/first"].to_list() == own.filter(pattern=label)["logit/first"].to_list()
        )
        offsets = results_of(parent / name)["rectifier"]["first"]["patterns"][label]
        assert (offsets["count"], offsets["inherited"]) == (0, True)
        strength = results_of(parent / name)["rectifier"]["first"]["strength"]
        assert results["rectifier"]["first"]["patterns"][label] == {**offsets, "strength": strength}
        risks = results_of(parent / name)["mean_risk"]["first"]
        assert risks["all"]["value"] is risks["patterns"][label]["value"] is None, "nobody had the pattern"
        assert results["mean_risk"]["first"]["patterns"][label]["labelled"] == 0
    for label, cell in results["tasks"]["first"]["patterns"].items():
        known = pooled.filter(pattern=label).drop_nulls("label/first")
        assert cell["auroc"]["value"] == pytest.approx(roc_auc_score(known["label/first"], known["logit/first"]))
    assert (parent / "figures" / "rectifier.png").is_file()


def test_a_pattern_that_nobody_has_and_one_that_is_named_where_all_are_taken_are_refused(custom, capsys) -> None:
    with pytest.raises(ValueError, match=r"loader\.held_pattern=\['vectors'\]: .* 0 rows outside the test split"):
        protocols.train(custom("evaluation.protocol=split", "loader.held_pattern=[vectors]"))
    assert main(["train", LEAVE_OUT[0], "loader.held_pattern=[table]"]) == 1
    assert "leave_pattern_out holds out every pattern" in capsys.readouterr().out
