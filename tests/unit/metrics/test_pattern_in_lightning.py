"""The metric as any other of torchmetrics: in a collection, logged by a module, drawn."""

from typing import Any

import matplotlib as mpl
import pytest
import torch
from lightning import LightningModule, Trainer
from matplotlib import pyplot
from torch import Tensor
from torch.utils.data import DataLoader
from torchmetrics import MetricCollection

from mmnar_lightning.metrics.pattern import PatternMetric, PatternScore

mpl.use("agg")


def rows(start: int) -> dict[str, Tensor]:
    row_id = torch.arange(start, start + 8)
    label = (row_id % 3 == 0).float()[:, None]
    return {
        "row_id": row_id,
        "subject": row_id,
        "present": torch.stack([row_id >= 0, row_id % 2 == 0], dim=1),
        "logits": label + torch.sin(12.9 * row_id)[:, None],
        "label": label,
        "label_mask": torch.ones(8, 1, dtype=torch.bool),
    }


def metric(*patterns: int) -> PatternMetric:
    return PatternMetric(["death"], ["labs", "notes"], patterns)


@pytest.fixture
def whole() -> dict[str, float]:
    own = metric(1, 3)
    for start in (0, 8):
        own.update(**rows(start))
    return own.compute()


def test_a_collection_gives_what_each_of_its_metrics_gives(whole: dict[str, float]) -> None:
    collection = MetricCollection([metric(1, 3)], prefix="val/")
    assert collection(**rows(0))["val/count/death"] == 8
    collection.update(**rows(8))
    assert collection.compute() == {f"val/{name}": value for name, value in whole.items()}
    collection.reset()
    collection.update(**rows(0))
    assert collection.compute()["val/count/death"] == 8


class Scored(LightningModule):
    """A module that logs the metric itself."""

    def __init__(self) -> None:
        super().__init__()
        self.metric = metric(1, 3)

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        self.metric.update(**batch)

    def on_validation_epoch_end(self) -> None:
        self.log_dict(self.metric.compute())
        self.metric.reset()


def test_a_module_logs_it_as_a_dictionary(whole: dict[str, float]) -> None:
    quiet = Trainer(accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False)
    loader: DataLoader[Any] = DataLoader([rows(0), rows(8)], batch_size=None)  # type: ignore[arg-type]  # a list serves
    (found,) = quiet.validate(Scored(), loader, verbose=False)
    assert found == pytest.approx(whole, nan_ok=True)


class ScoredAlone(LightningModule):
    """A module that gives metrics to Lightning, which computes and resets them."""

    def __init__(self) -> None:
        super().__init__()
        given = (["death"], ["labs", "notes"], [1, 3])
        self.scores = torch.nn.ModuleDict({"all": PatternScore("auroc/death", *given)})
        self.scores["both"] = PatternScore("brier/death/11", *given)

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        for name, score in self.scores.items():
            score.update(**batch)
            self.log(name, score, on_epoch=True)  # type: ignore[arg-type]  # ModuleDict does not know its values


def test_a_module_gives_one_number_of_it_to_lightning(whole: dict[str, float]) -> None:
    quiet = Trainer(accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False)
    loader: DataLoader[Any] = DataLoader([rows(0), rows(8)], batch_size=None)  # type: ignore[arg-type]  # a list serves
    module = ScoredAlone()
    for _ in range(2):  # the second epoch does not count the rows of the first
        (found,) = quiet.validate(module, loader, verbose=False)
        assert found == pytest.approx({"all": whole["auroc/death"], "both": whole["brier/death/11"]})


def test_one_score_of_every_cell_is_drawn(whole: dict[str, float]) -> None:
    own = metric(1, 2, 3)
    own.update(**rows(0))
    own.update(**rows(8))
    _, axes = own.plot()
    names = [text.get_text() for text in axes.get_legend().get_texts()]
    assert names == ["death", "death/10", "death/11"], "no row has the pattern 01"
    drawn = [float(line.get_ydata()[0]) for line in axes.get_lines()][: len(names)]
    assert drawn == pytest.approx([whole[f"auroc/{name}"] for name in names])
    alone = PatternScore("auroc/death", ["death"], ["labs", "notes"], [1, 3])
    alone.update(**rows(0))
    alone.update(**rows(8))
    _, third = alone.plot(ax=pyplot.subplots()[1])
    assert float(third.get_lines()[0].get_ydata()[0]) == pytest.approx(whole["auroc/death"])
    _, other = own.plot(whole, ax=pyplot.subplots()[1], score="count")
    assert float(other.get_lines()[0].get_ydata()[0]) == 16
    pyplot.close("all")
