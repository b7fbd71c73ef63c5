"""GRAPE, adapted to modalities: predictions from a graph that also predicts hidden edges (You and others, 2020)."""

import torch
from torch import Tensor, nn

from data_modules.batch import Batch
from mmnar_lightning.baselines.bipartite import BipartiteGraph
from mmnar_lightning.baselines.inputs import BaselineInputs, prior_head
from mmnar_lightning.baselines.memory import FrozenMemory
from mmnar_lightning.losses.reconstruction import reconstruction
from mmnar_lightning.nn.encoders import Encoders
from mmnar_lightning.nn.hiding import drop
from mmnar_lightning.nn.mlp import projection
from mmnar_lightning.outputs import ModelOutputs

DIM = 128
"""Width of a modality's encoding, of nodes and of edges."""
NUM_LAYERS = 3
"""Rounds of messages, as in the paper."""
DROPOUT = 0.1
"""Probability of dropping a hidden unit."""
EDGE_DROPOUT = 0.3
"""Probability of hiding an edge in training, as in the paper."""


class Grape(nn.Module):
    """A graph of patients and modalities; ê_m = MLP([x_i; x_m]) stands for what has no edge.

    In training some edges of each row are hidden and predicted, which is a term of the objective. The logits are those
    of a hidden layer on [e_1 or ê_1, ..., e_M or ê_M].

    Args:
        inputs: modalities, prior, memory.
    """

    def __init__(self, inputs: BaselineInputs) -> None:
        super().__init__()
        count = len(inputs.modalities)
        self.encoders = Encoders(inputs.modalities, DIM, DROPOUT, inputs.maps, inputs.items)
        self.memory = FrozenMemory(inputs.modalities, inputs.memory)
        self.graph = BipartiteGraph(count, DIM, NUM_LAYERS)
        self.edge = projection(2 * DIM, DIM, DROPOUT)
        self.hidden = nn.Sequential(nn.Linear(count * DIM, DIM), nn.GELU(), nn.Dropout(DROPOUT))
        self.head = prior_head(DIM, inputs.prior)

    def forward(self, batch: Batch) -> ModelOutputs:
        """Predict a batch; in training with the term of the hidden edges."""
        encodings = self.encoders(batch)
        shown = drop(batch.present, EDGE_DROPOUT) if self.training else batch.present
        predicted = self._edges(encodings, shown)
        filled = torch.where(shown.unsqueeze(-1), encodings, predicted)
        hidden = self.hidden(filled.flatten(1))
        terms = {}
        if self.training:
            terms["edges"] = reconstruction(predicted, encodings, (batch.present & ~shown).to(encodings))
        return ModelOutputs(logits=self.head(hidden), representation=hidden, encodings=encodings, terms=terms)

    def _edges(self, encodings: Tensor, shown: Tensor) -> Tensor:
        """ê of every row and modality, (B, M, D)."""
        modalities = self.graph.modalities(self.memory.encode(self.encoders), self.memory.present)
        patients = self.graph.rows(encodings, shown, modalities)
        ends = (patients[:, None].expand_as(encodings), modalities[-1].expand_as(encodings))
        predicted: Tensor = self.edge(torch.cat(ends, dim=-1))
        return predicted
