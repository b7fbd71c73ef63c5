"""What each part of the method gains on the held-out rows of the inner folds, on a small custom cohort."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch

from mmnar_lightning.callbacks.checkpoints import checkpoint_callbacks
from mmnar_lightning.config.compose import load
from mmnar_lightning.evaluation.predict import predict
from mmnar_lightning.metrics.paired import paired_difference
from mmnar_lightning.outputs import ScoredRows
from mmnar_lightning.runs import build, folders, single
from mmnar_lightning.runs import trainer as training
from tests.conftest import write_custom_cohort
from tests.helpers.small_runs import SMALL, Stop, results_of

TASKS = ("first", "second")
WORDS = (
    *SMALL,
    "trainer.max_epochs=2",
    "optim.lr=0.003",
    "evaluation.inner_folds=2",
    "cohort.split.train=0.4",
    "cohort.split.calibration=0.3",
    "cohort.split.test=0.2",
    "model.fusion.conditioned=false",
    "model.encoder.bins=4",
    "objective.reconstruction=0",
    "objective.assignment=0",
    "rectifier.start_epoch=1",
    "rectifier.min_rows=8",
    "rectifier.gate=false",
)
PARTS = "diagnostics.parts=true"
LESS = {
    "contrast": "objective.contrast=0",
    "loss_offset": "rectifier.loss_offset=false",
    "bins": "model.encoder.bins=0",
}
"""The parts that are on, and the word that leaves each out."""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a cohort."""
    place = tmp_path_factory.mktemp("parts")
    write_custom_cohort(place / "given", num_subjects=120)
    return place


def settings(place: Path, runs: str, *words: str, given: str = "given"):
    os.environ.pop(folders.RUN_ID_VARIABLE, None)
    paths = [f"paths.cohort={place / given}", f"paths.data={place / 'data'}", f"paths.runs={place / runs}"]
    return load(["dataset=custom", *paths, *WORDS, *words])


@pytest.fixture(scope="module")
def whole(place: Path) -> Path:
    """An undisturbed run with the gains of its parts."""
    return single.train(settings(place, "whole", PARTS))


@pytest.fixture(scope="module")
def plain(place: Path) -> Path:
    """The same run without them."""
    return single.train(settings(place, "plain"))


def held_out(folder: Path) -> ScoredRows:
    """The rows of the inner folds as the best weights of a run predict them."""
    config = load([f"experiment={folder / 'config.yaml'}"])
    datamodule = build.build_datamodule(config)
    datamodule.prepare_data()
    datamodule.setup()
    module = build.build_module(config, datamodule.cohort)
    module.load_state_dict(torch.load(folder / folders.BEST, weights_only=True)["state_dict"])
    return predict(module, datamodule.val_dataloader(), torch.device("cpu"))


@pytest.mark.parametrize("part", LESS)
def test_a_part_gains_what_a_run_trained_by_hand_without_it_lacks(part: str, place, whole, plain) -> None:
    config = settings(place, "hand", LESS[part], "evaluate=false")
    config.given = frozenset()  # nothing reads rectifier.start_epoch without the offset
    full, less = held_out(plain), held_out(single.train(config))
    found = results_of(whole)["diagnostics"]["parts"][part]
    differs = False
    for column, task in enumerate(TASKS):
        known = full.label_mask[:, column]
        columns = (full.probability[known, column], less.probability[known, column], full.label[known, column])
        expected = paired_difference(*columns, full.subject[known], num_replicates=100)
        for name in ("auroc", "average_precision", "brier"):
            reported = {key: found[task][name][key] for key in ("value", "low", "high", "num_defined")}
            assert reported == pytest.approx({key: getattr(expected[name], key) for key in reported}, abs=1e-9), name
            differs |= expected[name].value != 0
        assert (found[task]["count"], found[task]["positives"]) == (known.sum(), full.label[known, column].sum())
        assert found[task]["subjects"] == len(full.subject[known].unique())
    assert differs, "training without the part gave the same model"


def test_parts_are_compared_on_the_rows_of_train_and_val_and_change_nothing_else(place, whole, plain) -> None:
    found = results_of(whole)
    assert list(found["diagnostics"].pop("parts")) == list(LESS)
    assert json.dumps(found) == json.dumps(results_of(plain))
    assert sorted(path.name for path in (whole / "parts").iterdir()) == sorted([*LESS, "predictions.parquet"])
    tested = set(pl.read_parquet(whole / "predictions.parquet")["row_id"])
    config = load([f"experiment={whole / 'config.yaml'}", "evaluation.inner_folds=0"])
    datamodule = build.build_datamodule(config)
    datamodule.setup()
    expected = torch.cat([datamodule.cohort.rows("train"), datamodule.cohort.rows("val")]).sort().values.tolist()
    for folder in (whole / "parts", *(whole / "parts" / part for part in LESS)):
        rows = pl.read_parquet(folder / "predictions.parquet")
        assert rows["row_id"].to_list() == expected
        assert not tested & set(expected)
    for part in LESS:
        assert not (whole / "parts" / part / "results.json").exists()


def test_parts_are_trained_when_a_run_is_evaluated_and_labels_of_test_rows_reach_none(place: Path, whole: Path) -> None:
    path = shutil.copytree(place / "given", place / "turned") / "cohort.parquet"
    rows = pl.read_parquet(path)
    tested = rows["row_id"].is_in(pl.read_parquet(whole / "predictions.parquet")["row_id"].implode())
    turned = [pl.when(tested).then(~pl.col(name)).otherwise(name).alias(name) for name in map("label/{}".format, TASKS)]
    rows.with_columns(turned).write_parquet(path)
    folder = single.train(settings(place, "later", PARTS, "evaluate=false", given="turned"))
    assert not (folder / "parts").exists()
    single.evaluate(settings(place, "later", f"run={folder}", given="turned"))
    after, before = results_of(folder), results_of(whole)
    assert after["diagnostics"]["parts"] == before["diagnostics"]["parts"]
    assert after["tasks"] != before["tasks"]


def test_killed_within_a_part_and_resumed_it_gives_the_same(place: Path, whole: Path, monkeypatch, capsys) -> None:
    def stopping(folder: Path, *given: Any) -> list[Any]:
        stop = [Stop(0)] if folder.parent.name == "loss_offset" else []
        return [*stop, *checkpoint_callbacks(folder, *given)]

    monkeypatch.setattr(training, "checkpoint_callbacks", stopping)
    with pytest.raises(RuntimeError, match="on purpose"):
        single.train(settings(place, "killed", PARTS))
    monkeypatch.undo()
    (folder,) = (place / "killed" / "custom").iterdir()
    assert not (folder / "results.json").exists()
    first = (folder / "parts" / "contrast" / folders.BEST).stat().st_mtime_ns
    capsys.readouterr()
    assert single.train(settings(place, "killed", PARTS)) == folder
    assert (
        "diagnostics.parts: 3 + 1 trainings, one without each of contrast, loss_offset, bins" in capsys.readouterr().out
    )
    assert results_of(folder) == results_of(whole)
    assert (folder / "parts" / "contrast" / folders.BEST).stat().st_mtime_ns == first, "trained again"
    assert (folder / "parts" / "loss_offset" / "logs" / "1").is_dir(), "not resumed"
