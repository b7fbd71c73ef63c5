"""Baselines as a package outside of the project would write them, right ones and wrong ones."""

import torch
from torch import Tensor, nn

from data_modules.batch import Batch
from mmnar_lightning.baselines.inputs import BaselineInputs, prior_head
from mmnar_lightning.baselines.registry import NetworkBaseline
from mmnar_lightning.outputs import ModelOutputs

WIDTH = 16


class Network(nn.Module):
    """Zeros for the absent, and presence, through one hidden layer."""

    def __init__(self, inputs: BaselineInputs, width: int = WIDTH) -> None:
        super().__init__()
        self.names = [modality.name for modality in inputs.modalities]
        total = sum(modality.width for modality in inputs.modalities) + len(self.names)
        self.hidden = nn.Sequential(nn.Linear(total, width), nn.ReLU())
        self.head = prior_head(width, inputs.prior)

    def forward(self, batch: Batch) -> ModelOutputs:
        present = batch.present.float()
        hidden = self.hidden(torch.cat([*self.columns(batch), present], dim=1))
        return ModelOutputs(logits=self.head(hidden), representation=hidden, encodings=present.unsqueeze(-1))

    def columns(self, batch: Batch) -> list[Tensor]:
        return [torch.where(batch.present[:, m, None], _plain(batch, name), 0.0) for m, name in enumerate(self.names)]


def _plain(batch: Batch, name: str) -> Tensor:
    values = batch.inputs[name]
    assert isinstance(values, Tensor)
    return values


DECLARED = NetworkBaseline(build=lambda inputs, config: Network(inputs), read=("model.encoder.",))


class ReadsAbsent(Network):
    def columns(self, batch: Batch) -> list[Tensor]:
        return [_plain(batch, name).nan_to_num(0.0, 1.0, -1.0) for name in self.names]


class MixesRows(Network):
    def forward(self, batch: Batch) -> ModelOutputs:
        outputs = super().forward(batch)
        logits = outputs.logits + outputs.logits.mean(0)
        return ModelOutputs(logits=logits, representation=outputs.representation, encodings=outputs.encodings)


class Estimator:
    """The share of positives among the train rows with the nearest first input and the same pattern."""

    raw_tables = False

    def __init__(self, inputs: BaselineInputs, seed: int, width: int = 25) -> None:
        self.inputs, self.width = inputs, width
        self.iterations = dict.fromkeys(inputs.tasks, 1)
        self.losses = {task: [0.0] for task in inputs.tasks}
        self.remarks: list[str] = []

    def fit(self, train: Batch, val: Batch) -> None:
        self.keys = self.key(train)
        self.label = torch.where(train.label_mask, train.label, torch.nan).double()

    def key(self, batch: Batch) -> Tensor:
        first = torch.where(batch.present[:, 0], _plain(batch, "m0")[:, 0], 0.0)
        return torch.cat([first[:, None], 10.0 * batch.present.float()], dim=1)

    def predict(self, batch: Batch) -> Tensor:
        distance = (self.key(batch)[:, None] - self.keys[None]).abs().sum(-1)
        nearest = distance.topk(self.width, largest=False).indices
        return self.label[nearest].nanmean(1).nan_to_num(0.5).clamp(0.01, 0.99)


class ReadsUnknownLabels(Estimator):
    def fit(self, train: Batch, val: Batch) -> None:
        super().fit(train, val)
        self.label = train.label.nan_to_num(1.0).double()


class LearnsNothing(Estimator):
    def predict(self, batch: Batch) -> Tensor:
        return torch.full((len(batch), len(self.inputs.tasks)), 0.5, dtype=torch.float64)
