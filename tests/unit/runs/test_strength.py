"""How much a network counts beside its additive head: chosen on held-out rows, used wherever the model predicts."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from unittest.mock import Mock

import polars as pl
import pytest
import torch
from sklearn.metrics import log_loss

from mmnar_lightning.callbacks.pattern_metrics import PatternMetrics
from mmnar_lightning.config.compose import load
from mmnar_lightning.evaluation.predict import predict
from mmnar_lightning.model import NOT_CHOSEN, MMNARModel, set_strength, strength_of
from mmnar_lightning.module import MMNARModule
from mmnar_lightning.nn.config import AdditiveConfig, FusionConfig, ModelConfig
from mmnar_lightning.nn.weights import load_weights
from mmnar_lightning.outputs import ScoredRows
from mmnar_lightning.runs import build, folders, single, strength
from tests.helpers.batches import NUM_TASKS, make_batch, modalities
from tests.helpers.processes import TRAIN, write_cohort

CANDIDATES = [0.0, 0.25, 0.5, 0.75, 1.0]


def rows(logits: Sequence[float], label: Sequence[float], known: Sequence[bool] | None = None) -> ScoredRows:
    count = len(logits)
    return ScoredRows(
        row_id=torch.arange(count),
        subject=torch.arange(count),
        present=torch.ones(count, 1, dtype=torch.bool),
        logits=torch.tensor(logits, dtype=torch.float64)[:, None],
        label=torch.tensor(label, dtype=torch.float64)[:, None],
        label_mask=torch.tensor(known or [True] * count)[:, None],
    )


@pytest.mark.parametrize(("network", "expected"), [(0.0, 1.0), (math.log(3), 1.0), (2 * math.log(3), 0.5), (-1.0, 0.0)])
def test_the_strength_with_the_lowest_loss_is_chosen_and_of_equal_ones_the_largest(network, expected) -> None:
    label = [1.0, 1.0, 1.0, 0.0]  # the best logit is log 3
    found = strength.best_of(CANDIDATES, rows([0.0] * 4, label), rows([network] * 4, label), "binary")
    assert found[0] == expected
    some = [True, True, True, True, False]
    unknown = (rows([0.0] * 5, [*label, 0.0], some), rows([network] * 5, [*label, 0.0], some))
    assert strength.best_of(CANDIDATES, *unknown, "binary")[0] == expected
    numbers = (rows([0.0] * 4, [0.5] * 4), rows([1.0] * 4, [0.5] * 4))
    assert strength.best_of(CANDIDATES, *numbers, "value")[0] == 0.5


@pytest.fixture(scope="module", params=[0, 2])
def trained(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """A run whose network overshoots, with and without inner folds, and its settings."""
    place = tmp_path_factory.mktemp("strength")
    write_cohort(place / "given")
    words = [
        "experiment=custom,tuned", *TRAIN, f"paths.cohort={place}/given", f"paths.runs={place}/runs",
        f"paths.data={place}/data", "trainer.max_epochs=3", "optim.lr=0.1", "model.additive.inverse_penalties=[0.1]",
        "rectifier.start_epoch=1", "rectifier.min_rows=8", f"evaluation.inner_folds={request.param}",
    ]  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv(folders.RUN_ID_VARIABLE, raising=False)
        return single.train(load(words)), words


@pytest.mark.slow
def test_held_out_rows_choose_and_the_predictions_of_the_run_have_it(trained: tuple[Path, list[str]]) -> None:
    folder, words = trained
    chosen = json.loads((folder / folders.RESULTS).read_text())["checkpoint"]["strength"]
    module = MMNARModule.load_from_checkpoint(folder / folders.BEST)
    assert strength_of(module.model) == chosen
    datamodule = build.build_datamodule(load(words))
    datamodule.prepare_data()
    datamodule.setup()

    def held_out_loss(candidate: float) -> float:
        set_strength(module.model, candidate)
        held = predict(module, datamodule.val_dataloader(), torch.device("cpu"))
        each = [
            log_loss(held.label[known, task], held.probability[known, task])
            for task in range(held.label.shape[1])
            for known in [held.label_mask[:, task]]
        ]
        return sum(each)

    losses = {candidate: held_out_loss(candidate) for candidate in reversed(CANDIDATES)}
    assert min(losses, key=lambda candidate: losses[candidate]) == chosen
    set_strength(module.model, chosen)
    expected = predict(module, datamodule.test_dataloader(), torch.device("cpu"))
    stored = pl.read_parquet(folder / folders.PREDICTIONS).sort("row_id")
    logits = [name for name in stored.columns if name.startswith("logit/")]
    torch.testing.assert_close(
        torch.from_numpy(stored[logits].to_numpy(writable=True)), expected.logits, rtol=0, atol=1e-6
    )


@pytest.mark.slow
def test_a_run_that_was_stopped_before_the_choice_makes_it_when_it_is_evaluated(
    trained: tuple[Path, list[str]], tmp_path: Path, monkeypatch
) -> None:
    whole, words = trained
    again = [*words, f"paths.runs={tmp_path}", "trainer.max_epochs=3"]
    with monkeypatch.context() as patch:
        patch.setattr(strength, "choose", lambda *_: None)
        folder = single.train(load([*again, "evaluate=false"]))
    assert strength_of(MMNARModule.load_from_checkpoint(folder / folders.BEST).model) == NOT_CHOSEN
    single.evaluate(load([*again, f"run={folder}"]))
    first, second = (json.loads((own / folders.RESULTS).read_text()) for own in (whole, folder))
    assert second["checkpoint"] == first["checkpoint"]
    assert second["tasks"] == first["tasks"]


@pytest.mark.parametrize(("total", "shown"), [(40.0, 0.123456), (math.nan, 0.12)])
def test_the_loss_is_logged_with_two_digits_where_a_task_is_hidden(total: float, shown: float) -> None:
    metrics = PatternMetrics(["first", "second"], ["table"], [1], min_count=10)
    logger, trainer = Mock(), Mock(global_step=7)
    trainer.loggers = [logger]
    strength._log(trainer, metrics, 0.123456)
    assert not logger.log_metrics.called, "nothing was trained"
    metrics.latest = {"log_loss": 0.1, "count/first": 50.0, "count/second": total, "count/first/1": math.nan}
    strength._log(trainer, metrics, 0.123456)
    logger.log_metrics.assert_called_once_with({"val/log_loss": shown}, step=7)


def test_training_does_not_read_it_and_without_an_additive_head_there_is_none() -> None:
    present = torch.tensor([[True, True], [True, False], [False, True]])
    batch = make_batch(present)
    small = FusionConfig(dim=16, num_heads=2, dropout=0.0)
    config = ModelConfig(fusion=small, additive=AdditiveConfig(inverse_penalties=[1.0]))
    model = MMNARModel(modalities(2), NUM_TASKS, config, patterns=[1, 2, 3])
    for parameter in model.heads.parameters():
        torch.nn.init.normal_(parameter)
    assert strength_of(model) == NOT_CHOSEN
    whole, training = model.eval()(batch).logits, model.train()(batch).logits
    set_strength(model, 0.0)
    assert model.train()(batch).logits.equal(training)
    assert model.additive is not None
    head = model.additive(batch)
    assert model.eval()(batch).logits.equal(head)
    set_strength(model, 0.25)
    torch.testing.assert_close(model.eval()(batch).logits, head + 0.25 * (whole - head))
    assert strength_of(MMNARModel(modalities(2), NUM_TASKS, ModelConfig(fusion=small))) is None
    older = {name: value for name, value in model.state_dict().items() if name != "strength"}
    fresh = MMNARModel(modalities(2), NUM_TASKS, config, patterns=[1, 2, 3])
    load_weights(fresh, older, "an older file")
    assert fresh.eval()(batch).logits.equal(whole)
