"""MedFuse: an LSTM reads the modalities of a row one after the other, and skips those that are absent."""

import torch
from torch import Tensor, nn

from data_modules.batch import Batch
from mmnar_lightning.baselines.inputs import BaselineInputs, prior_head
from mmnar_lightning.baselines.late_fusion import DIM
from mmnar_lightning.baselines.terms import each
from mmnar_lightning.nn.encoders import Encoders
from mmnar_lightning.outputs import ModelOutputs, SideHeads

DROPOUT = 0.1
"""Probability of dropping a hidden unit."""


class MedFuse(nn.Module):
    """h_m, c_m = LSTM(V_m e_m; h_{m-1}, c_{m-1}) where m is present, else the state before; logit = head(h_M).

    Modalities are read in the order of the cohort. Each also has a head of its own, trained on the rows that have it.

    Source: Hayat, Geras and Shamout, MedFuse: Multi-modal fusion with clinical time-series data and chest X-ray images,
    MLHC 2022.

    Args:
        inputs: modalities, prior.
    """

    def __init__(self, inputs: BaselineInputs) -> None:
        super().__init__()
        count = len(inputs.modalities)
        self.encoders = Encoders(inputs.modalities, DIM, DROPOUT, inputs.maps, inputs.items)
        self.project = nn.ModuleList(nn.Linear(DIM, DIM) for _ in range(count))
        self.cell = nn.LSTMCell(DIM, DIM)
        self.head = prior_head(DIM, inputs.prior)
        self.alone = nn.ModuleList(prior_head(DIM, inputs.prior) for _ in range(count))

    def forward(self, batch: Batch) -> ModelOutputs:
        """Predict a batch."""
        encodings = self.encoders(batch)
        state = self._read(encodings, batch.present)
        return ModelOutputs(
            logits=self.head(state),
            representation=state,
            encodings=encodings,
            side=SideHeads(logits=each(self.alone, encodings), shown=batch.present),
        )

    def _read(self, encodings: Tensor, present: Tensor) -> Tensor:
        """(B, D) float, the last hidden state; zero in a row without any modality."""
        hidden = torch.zeros_like(encodings[:, 0])
        memory = torch.zeros_like(hidden)
        for m, project in enumerate(self.project):
            after_hidden, after_memory = self.cell(project(encodings[:, m]), (hidden, memory))
            shown = present[:, [m]]
            hidden = torch.where(shown, after_hidden, hidden)
            memory = torch.where(shown, after_memory, memory)
        return hidden
