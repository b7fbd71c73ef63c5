"""The callback in a real Trainer, with predictions that are made up."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.loggers.logger import Logger
from sklearn.metrics import roc_auc_score

from data_modules import patterns
from data_modules.batch import Batch
from mmnar_lightning.callbacks.pattern_metrics import PatternMetrics

TASKS, MODALITIES, LISTED = ["death", "stay"], ["labs", "notes"], [3, 1, 2]
NUM_ROWS, MIN_COUNT = 90, 10
METRICS = ["auroc", "average_precision", "brier", "count", "positives"]
CELLS = [f"{task}{suffix}" for task in TASKS for suffix in ("", "/11", "/10", "/01")]
KEYS = {"auroc", "log_loss", *(f"{metric}/{cell}" for metric in METRICS for cell in CELLS)}


class Loader:
    """Batches of given sizes."""

    def __init__(self, batch: Batch, sizes: list[int]) -> None:
        self.batch, self.sizes = batch, sizes

    def __len__(self) -> int:
        return len(self.sizes)

    def __iter__(self) -> Iterator[Batch]:
        start = 0
        for size in self.sizes:
            part = slice(start, start + size)
            start += size
            yield Batch(
                row_id=self.batch.row_id[part],
                subject=self.batch.subject[part],
                present=self.batch.present[part],
                inputs={},
                label=self.batch.label[part],
                label_mask=self.batch.label_mask[part],
            )


class Recorder(Logger):
    """Keeps what a logger is given."""

    name, version = "recorder", "0"

    def __init__(self) -> None:
        super().__init__()
        self.seen: dict[str, float] = {}

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        self.seen |= metrics

    def log_hyperparams(self, *args, **kwargs) -> None:
        pass


class Echo(LightningModule):
    """A module whose logit is a fixed function of the row."""

    def validation_step(self, batch: Batch, batch_idx: int) -> torch.Tensor:
        return logits(batch)

    test_step = validation_step


def logits(batch: Batch) -> torch.Tensor:
    noise = torch.sin(torch.arange(2) + 12.9898 * batch.row_id[:, None]) * 2
    return noise + batch.label.where(batch.label_mask, 0.0)


def rows(codes: torch.Tensor) -> Batch:
    generator = torch.Generator().manual_seed(0)
    label = torch.randint(2, (len(codes), 2), generator=generator).float()
    mask = torch.rand(len(codes), 2, generator=generator) < 0.9
    return Batch(
        row_id=torch.arange(len(codes)),
        subject=torch.arange(len(codes)),
        present=patterns.decode(codes, 2),
        inputs={},
        label=label.masked_fill(~mask, torch.nan),
        label_mask=mask,
    )


BATCH = rows(torch.tensor([3] * 50 + [2] * 30 + [1] * 6 + [0] * 4))
"""Two small cells, a larger one that is hidden with them, and one that is shown."""


def run(batch: Batch, sizes: list[int], tmp_path: Path, split: str = "val", returned: bool = True):
    recorder = Recorder()
    callback = PatternMetrics(TASKS, MODALITIES, LISTED, MIN_COUNT, returned=returned)
    trainer = Trainer(
        accelerator="cpu",
        logger=recorder,
        callbacks=[callback],
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        use_distributed_sampler=False,
        default_root_dir=tmp_path,
    )
    (trainer.validate if split == "val" else trainer.test)(Echo(), Loader(batch, sizes), verbose=False)
    return callback, trainer, {key: value for key, value in recorder.seen.items() if key.startswith(f"{split}/")}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return run(BATCH, [30, 30, 30], tmp_path_factory.mktemp("whole"))


@pytest.mark.parametrize("codes", [[3] * 60, [0] * 12, [1]], ids=["one pattern", "an unlisted pattern", "one row"])
def test_the_logged_keys_are_the_same_whatever_the_rows_are(codes, tmp_path):
    _, _, logged = run(rows(torch.tensor(codes)), [len(codes)], tmp_path)
    assert set(logged) == {f"val/{key}" for key in KEYS}


def test_the_values_do_not_depend_on_how_rows_are_cut_into_batches(whole, tmp_path):
    _, _, logged = run(BATCH, [1, 50, 39], tmp_path)
    assert logged == pytest.approx(whole[2], nan_ok=True)


def test_a_cell_of_enough_rows_reaches_the_loggers_with_its_auroc_and_count(whole):
    logged = whole[2]
    member = BATCH.label_mask[:, 0] & (BATCH.pattern == 3)
    expected = roc_auc_score(BATCH.label[member, 0].numpy(), logits(BATCH)[member, 0].numpy())
    assert logged["val/auroc/death/11"] == pytest.approx(expected, abs=1e-6)
    assert logged["val/count/death/11"] == int(member.sum())


def test_a_cell_of_few_rows_is_masked_for_loggers_with_its_count(whole):
    for metric in METRICS:
        assert math.isnan(whole[2][f"val/{metric}/death/10"]), metric
        assert math.isnan(whole[2][f"val/{metric}/stay/01"]), metric


def test_the_monitored_metric_counts_the_rows_of_masked_cells_too(whole):
    expected = []
    for column in range(2):
        known = BATCH.label_mask[:, column]
        expected.append(roc_auc_score(BATCH.label[known, column].numpy(), logits(BATCH)[known, column].numpy()))
    _, trainer, logged = whole
    assert logged["val/auroc"] == pytest.approx(sum(expected) / 2, abs=1e-6)
    assert trainer.callback_metrics["val/auroc"].item() == pytest.approx(sum(expected) / 2, abs=1e-6)


def test_the_monitored_metric_is_exact_where_every_cell_is_masked(tmp_path):
    few = Loader(BATCH, [9])
    _, trainer, logged = run(next(iter(few)), [9], tmp_path)
    assert math.isnan(logged["val/auroc/death"])
    assert not math.isnan(trainer.callback_metrics["val/auroc"].item())


def test_an_undefined_metric_is_nan_with_its_count(tmp_path):
    batch = rows(torch.tensor([3] * 20))
    batch.label.zero_()
    _, _, logged = run(batch, [20], tmp_path)
    assert math.isnan(logged["val/auroc"])
    assert math.isnan(logged["val/auroc/death/11"])
    assert logged["val/count/death/11"] >= MIN_COUNT
    assert logged["val/positives/death/11"] == 0


def test_a_test_run_keeps_its_rows_for_the_writers_and_logs_under_test(tmp_path):
    callback, _, logged = run(BATCH, [45, 45], tmp_path, split="test")
    assert set(logged) == {f"test/{key}" for key in KEYS}
    assert callback.rows.row_id.tolist() == list(range(NUM_ROWS))
    torch.testing.assert_close(callback.rows.logits, logits(BATCH).double(), atol=1e-6, rtol=0)
    assert callback.rows.subject.tolist() == BATCH.subject.tolist()


@pytest.mark.parametrize("split", ["val", "test"])
def test_the_loggers_have_the_same_where_nothing_is_returned(whole, tmp_path, split):
    _, trainer, logged = run(BATCH, [45, 45], tmp_path, split=split, returned=False)
    assert {key.partition("/")[2]: value for key, value in logged.items()} == pytest.approx(
        {key.partition("/")[2]: value for key, value in whole[2].items()}, nan_ok=True
    )
    assert not trainer.callback_metrics


def test_rows_that_came_twice_count_once(tmp_path, whole):
    twice = Loader(BATCH, [90])
    batch = next(iter(twice))
    names = ("row_id", "subject", "present", "label", "label_mask")
    own: dict[str, Any] = {name: torch.cat([getattr(batch, name)] * 2) for name in names}
    doubled = Batch(**own, inputs={})
    _, _, logged = run(doubled, [90, 90], tmp_path)
    assert logged == pytest.approx(whole[2], nan_ok=True)


def test_a_second_evaluation_starts_afresh(whole):
    callback, trainer, logged = whole
    trainer.validate(Echo(), Loader(BATCH, [90]), verbose=False)
    found = {f"val/{key}": value for key, value in callback.latest.items()}
    assert {key: value for key, value in found.items() if key in logged} == pytest.approx(logged, nan_ok=True)
    assert set(logged) <= set(found)
    assert callback.metrics["val"].rows().row_id.tolist() == []


def test_confident_predictions_keep_their_order_and_a_finite_logit(monkeypatch, tmp_path):
    monkeypatch.setattr(f"{__name__}.logits", lambda batch: 18.0 + batch.row_id[:, None].expand(-1, 2) / 10)
    callback, _, _ = run(BATCH, [90], tmp_path, split="test")
    logit = callback.rows.logits[:, 0]
    assert bool(logit.isfinite().all())
    assert bool((logit.diff() > 0).all())
