"""MUSE: patients in a graph with modalities, consistent under the loss of edges (Wu and others, ICLR 2024)."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from data_modules.batch import Batch
from mmnar_lightning.baselines.bipartite import BipartiteGraph
from mmnar_lightning.baselines.inputs import BaselineInputs, prior_head
from mmnar_lightning.baselines.memory import FrozenMemory
from mmnar_lightning.distributed.collectives import all_gather_counts, all_gather_rows, sum_over_ranks, world_size
from mmnar_lightning.losses.contrastive import symmetric_infonce
from mmnar_lightning.nn.encoders import Encoders
from mmnar_lightning.outputs import ModelOutputs

DIM = 128
"""Width of a modality's encoding, of nodes and of edges."""
NUM_LAYERS = 2
"""Rounds of messages."""
DROPOUT = 0.1
"""Probability of dropping a hidden unit of an encoder."""
TEMPERATURE = 0.07
"""Of the contrast."""
CONSISTENCY, AGREEMENT = 0.5, 0.5
"""Weights of the contrast without labels and of the one with labels."""
AUGMENTED = 0.5
"""Share of rows that lose edges in the second view."""


class Muse(nn.Module):
    """The state z of a row in the graph gives its logits; two contrasts make it the same with fewer edges.

    In training the rows pass the graph twice with the same weights: z with all edges, z' with some removed. With
    u = tanh(W z) of unit length, `consistency` contrasts u and u' of a row with those of others, and `agreement`
    predicts from u·u whether two rows have the same label.

    Args:
        inputs: modalities, prior, memory.
    """

    def __init__(self, inputs: BaselineInputs) -> None:
        super().__init__()
        self.encoders = Encoders(inputs.modalities, DIM, DROPOUT, inputs.maps, inputs.items)
        self.memory = FrozenMemory(inputs.modalities, inputs.memory)
        self.graph = BipartiteGraph(len(inputs.modalities), DIM, NUM_LAYERS)
        self.contrasted = nn.Linear(DIM, DIM)
        self.head = prior_head(DIM, inputs.prior)

    def forward(self, batch: Batch) -> ModelOutputs:
        """Predict a batch; in training with the two contrasts."""
        encodings = self.encoders(batch)
        modalities = self.graph.modalities(self.memory.encode(self.encoders), self.memory.present)
        state = self.graph.rows(encodings, batch.present, modalities)
        terms = {}
        if self.training:
            other = self.graph.rows(encodings, keep_some(batch.present), modalities)
            terms = self._terms(state, other, batch)
        return ModelOutputs(logits=self.head(state), representation=state, encodings=encodings, terms=terms)

    def _terms(self, state: Tensor, other: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Both contrasts, with their weights."""
        first, second = (functional.normalize(self.contrasted(own).tanh(), dim=-1) for own in (state, other))
        some = batch.present.any(1, keepdim=True)
        contrast = symmetric_infonce(first[:, None], second[:, None], some, batch.subject, TEMPERATURE)
        return {"consistency": CONSISTENCY * contrast, "agreement": AGREEMENT * agreement(first, second, batch)}


def keep_some(present: Tensor) -> Tensor:
    """Remove edges: half of the rows with k of at least two modalities keep a random number from 1 to k - 1 of them.

    Args:
        present: (B, M) bool.

    Returns:
        (B, M) bool.

    >>> keep_some(torch.tensor([[True, False], [False, False]])).tolist()
    [[True, False], [False, False]]
    """
    count = present.sum(1, keepdim=True)
    draws = torch.rand(len(present), 2, device=present.device)
    kept = 1 + (draws[:, :1] * (count - 1)).long()
    turn = torch.rand(present.shape, device=present.device).masked_fill(~present, -1.0)
    place = turn.argsort(1, descending=True).argsort(1)
    fewer = (draws[:, 1:] < AUGMENTED) & (count >= 2)
    return present & (~fewer | (place < kept))


def agreement(first: Tensor, second: Tensor, batch: Batch) -> Tensor:
    """Compute the cross-entropy of whether two rows have the same label, given the cosines of their vectors.

    Pairs are of rows of different subjects on all ranks whose label of a task is known; the cosines within the first
    view have the weight 2, those between the views 1 in either direction, of 4.

    Args:
        first: (B, D) float of unit length.
        second: (B, D) float of unit length, of the other view.
        batch: B rows.

    Returns:
        Scalar: the mean over pairs of each task that has any, then over these tasks; a differentiable zero without.
    """
    num_rows = all_gather_counts(len(batch), batch.subject.device, batch.rank_rows)
    others, others_second = (all_gather_rows(own, num_rows) for own in (first, second))
    label = torch.where(batch.label_mask, batch.label, 0.0)
    same = (label[:, None] == all_gather_rows(label, num_rows)).to(first)
    known = batch.label_mask[:, None] & all_gather_rows(batch.label_mask.to(torch.uint8), num_rows).bool()
    known = known & (batch.subject[:, None] != all_gather_rows(batch.subject, num_rows))[..., None]
    each = torch.zeros_like(same)
    for weight, left, right in ((2, first, others), (1, first, others_second), (1, second, others)):
        cosine = (left @ right.T)[..., None].expand_as(same)
        each = each + weight / 4 * functional.binary_cross_entropy_with_logits(cosine, same, reduction="none")
    count = sum_over_ranks(known.sum((0, 1)))
    per_task = torch.where(known, each, 0.0).sum((0, 1)) / count.clamp(min=1)
    return world_size() * per_task.sum() / (count > 0).sum().clamp(min=1)
