"""The graph of patients and modalities that GRAPE and MUSE share: an edge where a patient has a modality."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from mmnar_lightning.baselines.terms import masked_row_mean


class GraphLayer(nn.Module):
    """One round of messages over the edges (You and others, NeurIPS 2020, equations 1 to 3).

    n_v = mean of ReLU(P [x_u; e_uv]) over the neighbours u of v; x_v ← ReLU(Q [x_v; n_v]); and, unless it is the last
    round, e_uv ← ReLU(W [e_uv; x_u; x_v]), with u the patient and v the modality.

    Args:
        dim: D, of nodes and edges.
        last: whether no other round reads the edges.
    """

    def __init__(self, dim: int, *, last: bool) -> None:
        super().__init__()
        self.message = nn.Linear(2 * dim, dim)
        self.update = nn.Linear(2 * dim, dim)
        self.edge = None if last else nn.Linear(3 * dim, dim)

    def to_patients(self, patients: Tensor, modalities: Tensor, edges: Tensor, present: Tensor) -> Tensor:
        """New states of patients.

        Args:
            patients: (N, D) float.
            modalities: (M, D) float.
            edges: (N, M, D) float; undefined without an edge.
            present: (N, M) bool, the edges.

        Returns:
            (N, D) float.
        """
        sent = functional.relu(self.message(torch.cat([modalities.expand_as(edges), edges], dim=-1)))
        return self._updated(patients, masked_row_mean(sent, present))

    def to_modalities(self, patients: Tensor, modalities: Tensor, edges: Tensor, present: Tensor) -> Tensor:
        """New states of modalities, (M, D) float; arguments as of `to_patients`."""
        sent = functional.relu(self.message(torch.cat([patients[:, None].expand_as(edges), edges], dim=-1)))
        return self._updated(modalities, masked_row_mean(sent.transpose(0, 1), present.T))

    def to_edges(self, patients: Tensor, modalities: Tensor, edges: Tensor) -> Tensor:
        """New edges from the new states, (N, M, D) float; the last round leaves them as they are."""
        if self.edge is None:
            return edges
        ends = (patients[:, None].expand_as(edges), modalities.expand_as(edges))
        return functional.relu(self.edge(torch.cat([edges, *ends], dim=-1)))

    def _updated(self, nodes: Tensor, received: Tensor) -> Tensor:
        return functional.relu(self.update(torch.cat([nodes, received], dim=-1)))


class BipartiteGraph(nn.Module):
    """Rounds of messages between the patients of the memory and the modalities, and from these to the rows.

    A row sends no message: modalities hear the memory alone, so that what a row receives does not depend on the rows
    beside it. A patient starts at a vector of ones, a modality at a learned vector, an edge at the encoding.

    Args:
        num_modalities: M.
        dim: D.
        num_layers: L, rounds.
    """

    def __init__(self, num_modalities: int, dim: int, num_layers: int) -> None:
        super().__init__()
        self.start = nn.Parameter(torch.randn(num_modalities, dim) / dim**0.5)
        self.layers = nn.ModuleList(GraphLayer(dim, last=place == num_layers - 1) for place in range(num_layers))

    @property
    def _rounds(self) -> list[GraphLayer]:
        return [layer for layer in self.layers if isinstance(layer, GraphLayer)]

    def modalities(self, memory: Tensor, present: Tensor) -> list[Tensor]:
        """States of the modalities before the first round and after each, in the graph of the memory.

        Args:
            memory: (S, M, D) float, its encodings.
            present: (S, M) bool.

        Returns:
            L + 1 states, (M, D) float each.
        """
        patients, edges = torch.ones_like(memory[:, 0]), memory
        states: list[Tensor] = [self.start]
        for layer in self._rounds:
            given = (patients, states[-1], edges, present)
            patients, after = layer.to_patients(*given), layer.to_modalities(*given)
            edges = layer.to_edges(patients, after, edges)
            states.append(after)
        return states

    def rows(self, encodings: Tensor, present: Tensor, modalities: list[Tensor]) -> Tensor:
        """States of rows after the last round.

        Args:
            encodings: (B, M, D) float.
            present: (B, M) bool, their edges; encodings of others are not read.
            modalities: of the method `modalities`.

        Returns:
            (B, D) float.
        """
        patients, edges = torch.ones_like(encodings[:, 0]), encodings
        for layer, before, after in zip(self._rounds, modalities[:-1], modalities[1:], strict=True):
            patients = layer.to_patients(patients, before, edges, present)
            edges = layer.to_edges(patients, after, edges)
        return patients
