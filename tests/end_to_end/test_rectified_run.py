"""Whole runs with the offset of the loss and the rectifier of the output, on a small custom cohort."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch
from sklearn.metrics import roc_auc_score

from data_modules import patterns
from mmnar_lightning.callbacks.checkpoints import checkpoint_callbacks
from mmnar_lightning.config.experiment import ExperimentConfig
from mmnar_lightning.evaluation.predict import predict
from mmnar_lightning.losses.config import AUXILIARY
from mmnar_lightning.metrics.prediction_powered import mean_risk
from mmnar_lightning.runs import build, folders, protocols, single
from mmnar_lightning.runs import trainer as training
from tests.conftest import write_custom_cohort
from tests.helpers.small_runs import Stop, compose, results_of

TASKS = ("first", "second")
WORDS = (
    "trainer.max_epochs=5",
    "loader.batch_size=64",
    "optim.lr=0.003",
    "cohort.split.train=0.4",
    "cohort.split.calibration=0.3",
    "cohort.split.test=0.2",
)
RECTIFIER = ("rectifier.start_epoch=1", "rectifier.min_rows=8", "rectifier.gate=false")


def is_read(word: str, words: Sequence[str]) -> bool:
    """Whether something reads a setting of the rectifier beside these words; the program refuses it otherwise."""
    return "rectifier.fit=none" not in words and not ("loss_offset=false" in str(words) and "start_epoch" in word)


@pytest.fixture
def settings(workplace: Path) -> Callable[..., ExperimentConfig]:
    cohort = write_custom_cohort(workplace / "given", num_subjects=300)

    def settings(*words: str) -> ExperimentConfig:
        return compose(cohort, *WORDS, *(word for word in RECTIFIER if is_read(word, words)), *words)

    return settings


def checkpoint_of(folder: Path, name: str = folders.BEST) -> dict[str, Any]:
    return torch.load(folder / name, weights_only=True)


@pytest.mark.usefixtures("rendered_figures")
def test_a_run_leaves_what_the_rectifier_does_before_and_after(settings) -> None:
    config = settings()
    folder = single.train(config)
    results, weights = results_of(folder), checkpoint_of(folder)["state_dict"]
    assert weights["rectifier.fitted_subjects"].any()
    assert {"rectifier.png", *(f"reliability_{task}.png" for task in TASKS)} <= {
        path.name for path in (folder / "figures").iterdir()
    }
    predictions = pl.read_parquet(folder / "predictions.parquet")
    reported = results["diagnostics"]
    assert (results["unseen_pattern_rows"], results["unseen_patterns"]) == (0, [])
    assert not predictions["unseen_pattern"].any()
    _check_tipping_points(reported["decision_tipping_point"], predictions)
    assert list(reported["assignment"]) == ["vectors"], "the table is there in every row, so it has no propensity"
    assert reported["assignment"]["vectors"]["count"] == predictions.height
    assert reported["assignment"]["vectors"]["present"] == predictions.filter(pattern="11").height
    auroc = reported["assignment"]["vectors"]["auroc"]
    assert auroc["value"] > 0.5
    assert auroc["low"] < auroc["value"] < auroc["high"]
    for task in TASKS:
        table, risk = results["rectifier"][task], results["mean_risk"][task]
        assert table["strength"] == 1
        assert results["rectified"][task]["all"]["count"] == results["tasks"][task]["all"]["count"]
        assert risk["all"]["low"] < risk["all"]["value"] < risk["all"]["high"]
        for label, entry in table["patterns"].items():
            rows = predictions.filter(pattern=label)
            added = (rows[f"rectified/{task}"] - rows[f"logit/{task}"]).to_numpy()
            assert added == pytest.approx(entry["tau"], abs=1e-5)
    assert any(abs(entry["tau"]) > 0.01 for entry in results["rectifier"]["first"]["patterns"].values())

    datamodule = build.build_datamodule(config)
    datamodule.prepare_data()
    datamodule.setup()
    subject = datamodule.cohort.arrays.subject
    people = {half: set(subject[datamodule.cohort.calibration_half(half)].tolist()) for half in ("A", "B")}
    people |= {split: set(subject[datamodule.cohort.rows(split)].tolist()) for split in ("train", "val", "test")}
    names = list(people)
    for place, name in enumerate(names):
        assert people[name]
        for other in names[place + 1 :]:
            assert not people[name] & people[other], (name, other)
    for half, part in (("A", "loss_offset"), ("B", "rectifier")):
        held = weights[f"{part}.fitted_subjects"].nonzero().flatten().tolist()
        assert set(held) == people[half], "offsets were fitted on other subjects"
    _check_that_logits_hold_the_offset_of_the_loss(config, datamodule, weights, predictions)
    _check_mean_risk(results["mean_risk"], config, datamodule, weights, predictions)


def _check_tipping_points(reported: dict[str, Any], predictions: pl.DataFrame) -> None:
    """Shifted by it, the rectified mean risk of a pattern is that of all other rows."""
    for task in TASKS:
        assert set(reported[task]) == {"11", "10"}
        for label, shift in reported[task].items():
            own = pl.col("pattern") == label
            risk = {
                name: rows.select((1 / (1 + (-pl.col(f"rectified/{task}") - moved).exp())).mean()).item()
                for name, rows, moved in (
                    ("pattern", predictions.filter(own), shift),
                    ("rest", predictions.filter(~own), 0),
                )
            }
            assert risk["pattern"] == pytest.approx(risk["rest"], abs=1e-5)


def _check_mean_risk(reported, config, datamodule, weights, predictions) -> None:
    """Made again from f on test, without its labels, and from half B, pattern by pattern."""
    module = build.build_module(config, datamodule.cohort)
    module.load_state_dict(weights)
    half = predict(module, datamodule.rows_dataloader(datamodule.cohort.calibration_half("B")), torch.device("cpu"))
    codes = patterns.encode(half.present)
    subject = datamodule.cohort.arrays.subject
    for place, task in enumerate(TASKS):
        for label in ("11", "10"):
            tested = predictions.filter(pattern=label)
            known = half.label_mask[:, place] & (codes == patterns.parse(label))
            expected = mean_risk(
                tested[f"probability/{task}"].to_torch(),
                subject[tested["row_id"].to_torch()],
                half.logits[known, place].sigmoid(),
                half.label[known, place],
                half.subject[known],
            )
            assert reported[task]["patterns"][label]["value"] == pytest.approx(expected.value, abs=1e-6)
            assert reported[task]["patterns"][label]["low"] == pytest.approx(expected.low, abs=1e-6)


def _check_that_logits_hold_the_offset_of_the_loss(config, datamodule, weights, predictions) -> None:
    """The logits before the rectifier are g + τ⁰, which half A gave."""
    module = build.build_module(config, datamodule.cohort)
    module.load_state_dict(weights)
    device = torch.device("cpu")
    bare = predict(module.model, datamodule.test_dataloader(), device)
    codes = patterns.encode(bare.present)
    places = torch.searchsorted(module.loss_offset.pattern, codes)
    offset = module.loss_offset.offset[:, 1 + bare.present.shape[1] + 1 + places].T
    assert offset.abs().max() > 0.01
    found = predictions.sort("row_id").select(f"logit/{task}" for task in TASKS).to_torch()
    torch.testing.assert_close(found, bare.logits + offset, atol=1e-5, rtol=1e-5)


def test_stopped_after_any_epoch_and_resumed_it_gives_the_same_results(settings, monkeypatch) -> None:
    words = ("trainer.max_epochs=4",)
    whole = single.train(settings("paths.runs=whole", *words))
    usual = checkpoint_callbacks
    for epoch in range(3):
        monkeypatch.setattr(training, "checkpoint_callbacks", lambda *given, at=epoch: [Stop(at), *usual(*given)])
        with pytest.raises(RuntimeError, match="on purpose"):
            single.train(settings(f"paths.runs=parts{epoch}", *words))
        monkeypatch.setattr(training, "checkpoint_callbacks", usual)
        resumed = single.train(settings(f"paths.runs=parts{epoch}", "resume=last", *words))
        assert results_of(resumed) == results_of(whole), epoch
        for name in (folders.BEST, folders.LAST):
            expected, found = (checkpoint_of(folder, name)["state_dict"] for folder in (whole, resumed))
            assert all(torch.equal(value.nan_to_num(), found[key].nan_to_num()) for key, value in expected.items())


def test_training_moves_when_the_offset_is_in_the_loss_and_the_rectifier_is_fitted_without_reading_test(
    settings,
) -> None:
    plain = single.train(settings("rectifier.loss_offset=false", "evaluate=false"))
    with_offset = single.train(settings("evaluate=false"))
    weights = [checkpoint_of(folder, folders.LAST)["state_dict"] for folder in (plain, with_offset)]
    assert not torch.equal(*(next(v for k, v in held.items() if k.startswith("model.heads")) for held in weights))
    assert not any(name.startswith("loss_offset") for name in weights[0])
    assert not weights[1]["rectifier.fitted_subjects"].any(), "fitted before the checkpoint was chosen"
    assert checkpoint_of(with_offset)["state_dict"]["rectifier.fitted_subjects"].any()
    assert not (with_offset / "results.json").exists()


def test_evaluated_later_it_gives_what_it_gives_at_once(settings) -> None:
    at_once = results_of(single.train(settings("paths.runs=a")))
    folder = single.train(settings("paths.runs=b", "evaluate=false"))
    before = (folder / folders.BEST).read_bytes()
    single.evaluate(settings("paths.runs=b"))
    assert results_of(folder) == at_once
    assert (folder / folders.BEST).read_bytes() == before, "fitted twice"


def test_without_a_rectifier_nothing_of_it_is_left(settings) -> None:
    folder = single.train(settings("rectifier.fit=none", "objective.assignment=0", "trainer.max_epochs=1"))
    assert set(results_of(folder)["diagnostics"]) == {"decision_tipping_point"}
    assert not {"rectified", "rectifier", "mean_risk"} & set(results_of(folder))
    assert not (folder / "figures" / "rectifier.png").exists()
    assert not any("rectifier" in name or "loss_offset" in name for name in checkpoint_of(folder)["state_dict"])


def test_epochs_without_labels_are_never_the_best_nor_counted_by_early_stopping(settings) -> None:
    words = ("objective.pretrain_epochs=3", "trainer.patience=1", "trainer.max_epochs=8", "optim.lr=1e-9")
    folder = single.train(settings(*words, "rectifier.fit=none"))
    assert checkpoint_of(folder)["epoch"] == 3, "the first epoch with labels"
    assert checkpoint_of(folder, folders.LAST)["epoch"] == 4, "patience began with the first epoch with labels"


def test_a_parent_holds_the_means_of_what_its_runs_found(settings) -> None:
    parent = protocols.train(settings("evaluation.num_seeds=2", "rectifier.loss_offset=false", "trainer.max_epochs=2"))
    gathered = results_of(parent)
    for task in TASKS:
        values = []
        for name in ("seed0", "seed1"):
            rows = pl.read_parquet(parent / name / "predictions.parquet").drop_nulls(f"label/{task}")
            values.append(roc_auc_score(rows[f"label/{task}"], rows[f"rectified/{task}"]))
        assert gathered["rectified"][task]["all"]["auroc"]["value"] == pytest.approx(sum(values) / 2)
    offsets = [child["rectifier"]["first"]["patterns"]["10"]["tau"] for child in gathered["children"]]
    assert gathered["rectifier"]["first"]["patterns"]["10"]["tau"] == pytest.approx(sum(offsets) / 2)
    assert gathered["mean_risk"]["first"]["all"]["labelled"] > 0
    assert (parent / "figures" / "rectifier.png").is_file()


def test_the_loss_of_a_run_fades_epoch_by_epoch(settings) -> None:
    words = ("objective.pretrain_epochs=1", "objective.anneal_epochs=2")
    folder = single.train(settings("rectifier.fit=none", "evaluate=false", "trainer.max_epochs=4", *words))
    logged = pl.read_csv(folder / "metrics.csv", infer_schema_length=None).drop_nulls("train/loss")
    assert logged["epoch"].to_list() == [0, 1, 2, 3]
    for row, labelled, fading in zip(logged.rows(named=True), (0, 1, 1, 1), (1, 1, 0.55, 0.1), strict=True):
        term = {name: row[f"train/loss/{name}"] for name in (*AUXILIARY, *(f"task/{task}" for task in TASKS))}
        label_free = term["reconstruction"] + 0.3 * term["contrast"] + 0.5 * term["assignment"]
        supervised = sum(term[f"task/{task}"] for task in TASKS)
        assert row["train/loss"] == pytest.approx(labelled * supervised + fading * label_free, rel=1e-5)
