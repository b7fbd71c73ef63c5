"""Compiled training steps: forward, losses and their gradient by torch.compile, for batches of the usual sizes."""

from collections.abc import Callable, Collection
from typing import Any

import torch
from torch import Tensor

from data_modules.batch import Batch, Items
from mmnar_lightning.losses.config import Weights

Losses = Callable[[Any, Batch, Weights], tuple[Tensor, dict[str, Tensor]]]
"""Model, batch and weights -> loss and terms."""


def full_sizes(batch_size: int, accumulate: int) -> set[int]:
    """Sizes of the parts of a full batch.

    Args:
        batch_size: rows of a batch.
        accumulate: its parts.

    Returns:
        One or two sizes.

    >>> full_sizes(128, 1), sorted(full_sizes(7, 2))
    ({128}, [3, 4])
    """
    return {len(range(batch_size)[part::accumulate]) for part in range(accumulate)}


class CompiledLosses:
    """Compiles the losses of a model for batches of fixed sizes; others, such as the last of an epoch, are not taken.

    For one process: the collectives of several are not compiled.

    Args:
        model: of the module.
        mode: of torch.compile.
        sizes: numbers of rows of a full batch.
        backend: of torch.compile.
        whole: refuse a model that is not one graph; otherwise its parts are compiled one by one.
    """

    def __init__(
        self, model: Any, mode: str, sizes: Collection[int], *, backend: str = "inductor", whole: bool = False
    ) -> None:
        self.model = model
        self.sizes = frozenset(sizes)
        self.settings: dict[str, Any] = {"backend": backend, "dynamic": False, "fullgraph": whole}
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
