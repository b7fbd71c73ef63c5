"""Compiled training steps: forward, losses and their gradient by torch.compile, for batches of the usual sizes."""

from collections.abc import Callable, Collection
from typing import Any

import torch
from torch import Tensor

from data_modules.batch import Batch, Items
from mmnar_lightning.losses.config import Weights

Losses = Callable[[Any, Batch, Weights], tuple[Tensor, dict[str, Tensor]]]
"""Model, batch and weights -> loss and terms."""


def full_sizes(batch_size: int, accumulate: int, rank: int, world_size: int) -> set[int]:
    """Sizes of the parts of a full global batch on a rank.

    Args:
        batch_size: rows of a global batch.
        accumulate: its parts.
        rank: of this process.
        world_size: number of processes.

    Returns:
        One or two sizes.

    >>> full_sizes(128, 1, 0, 2), sorted(full_sizes(7, 2, 0, 1))
    ({64}, [3, 4])
    """
    return {len(range(batch_size)[part::accumulate][rank::world_size]) for part in range(accumulate)}


class CompiledLosses:
    """Compiles the losses of a model for batches of fixed sizes; others, such as the last of an epoch, are not taken.

    Args:
        model: of the module.
        mode: of torch.compile.
        sizes: numbers of rows of a full batch.
        backend: of torch.compile.
    """

    def __init__(self, model: Any, mode: str, sizes: Collection[int], backend: str = "inductor") -> None:
        self.model = model
        self.sizes = frozenset(sizes)
        self.settings: dict[str, Any] = {"backend": backend, "dynamic": False, "fullgraph": True}
        if backend == "inductor":
            self.settings["mode"] = mode
        self._compiled: Losses | None = None

    def takes(self, batch: Batch) -> bool:
        """Whether a batch has one of the sizes, and one vector a row of every modality."""
        return len(batch) in self.sizes and not any(isinstance(value, Items) for value in batch.inputs.values())

    def __call__(self, losses: Losses, batch: Batch, weights: Weights) -> tuple[Tensor, dict[str, Tensor]]:
        """Compute loss and terms.

        Args:
            losses: the function that is compiled at the first call.
            batch: as `takes` accepts it.
            weights: of the objective in this epoch; tensors, so that another epoch is not compiled again.

        Returns:
            The loss, a scalar with a gradient, and the terms.
        """
        if self._compiled is None:
            self._compiled = torch.compile(losses, **self.settings)
        torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]
        device = batch.label.device
        sent = Weights(*(torch.full((), float(weight), device=device) for weight in weights))
        loss, terms = self._compiled(self.model, batch, sent)
        return loss, terms
