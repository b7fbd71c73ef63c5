"""A stored model as one module of tensors: from values as they were measured to rectified probabilities."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from data_modules import patterns
from data_modules.batch import Batch
from data_modules.features.store import Statistics
from data_modules.loading.arrays import CLIP
from mmnar_lightning.rectifier.rectifier import Rectifier
from mmnar_lightning.saved.description import SavedModality
from mmnar_lightning.saved.model import SavedModel

PRESENT = "present"
"""Name of the input that holds the presence of all modalities."""


class Reading(nn.Module):
    """Values as they were measured -> values as the network reads them.

    Args:
        entry: the modality.
        statistics: its mean and scale; None if the network reads the values as they are.

    >>> entry = SavedModality(
    ...     name="labs", kind="table", width=2, columns=["a", "b"], raw=False, map="", beside=False, unread=[1]
    ... )
    >>> Reading(entry, Statistics(torch.ones(2).numpy(), torch.full((2,), 2.0).numpy()))(torch.tensor([[5.0, 5.0]]))
    tensor([[2., 0.]])
    """

    read: Tensor
    mean: Tensor
    scale: Tensor

    def __init__(self, entry: SavedModality, statistics: Statistics | None) -> None:
        super().__init__()
        read = torch.ones(entry.width, dtype=torch.bool)
        read[entry.unread] = False
        self.register_buffer("read", read)
        self.is_scaled = statistics is not None
        if statistics is not None:
            self.register_buffer("mean", torch.from_numpy(statistics.mean))
            self.register_buffer("scale", torch.from_numpy(statistics.scale))

    def forward(self, values: Tensor) -> Tensor:
        """(B, width) float, NaN = not measured -> the same shape."""
        shown = torch.where(self.read, values, torch.nan)
        if not self.is_scaled:
            return shown
        scaled = (shown - self.mean) / self.scale
        return torch.where(scaled.isnan(), 0.0, scaled.clamp(-CLIP, CLIP))


class PatternShift(nn.Module):
    """The shift of a fitted rectifier for each row, without its guard: no subject of the fit is known here.

    Args:
        rectifier: fitted.
    """

    pattern: Tensor
    shift: Tensor

    def __init__(self, rectifier: Rectifier) -> None:
        super().__init__()
        self.num_levels = 1 + rectifier.num_modalities + 1
        self.register_buffer("pattern", rectifier.pattern.clone())
        self.register_buffer("shift", (rectifier.strength[:, None] * rectifier.offset).T.contiguous())

    def forward(self, present: Tensor) -> Tensor:
        """(B, M) bool -> (B, T) float; that of the number of modalities for a pattern outside of the cohort."""
        # A comparison with every pattern: runtimes of ONNX have no search in a sorted tensor.
        is_own = patterns.encode(present)[:, None] == self.pattern
        place = self.num_levels + is_own.to(torch.int64).argmax(1)
        return self.shift[torch.where(is_own.any(1), place, 1 + present.sum(1))]


class Exported(nn.Module):
    """A network with the scales of its inputs and both offsets, for a graph that runs without this package.

    Args:
        model: a network, whose modalities are arrays.
    """

    def __init__(self, model: SavedModel) -> None:
        super().__init__()
        modalities = model.description.modalities
        self.names = [entry.name for entry in modalities]
        self.num_tasks = len(model.tasks)
        self.readings = nn.ModuleList(
            Reading(entry, None if entry.raw else model.statistics[entry.name]) for entry in modalities
        )
        self.network = model.network
        self.loss_offset = None if model.loss_offset is None else PatternShift(model.loss_offset)
        self.rectifier = None if model.rectifier is None else PatternShift(model.rectifier)

    def forward(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Predict rows.

        Args:
            inputs: modality -> (B, width) float32, NaN = not measured, and `present` -> (B, M) bool.

        Returns:
            `logit`, (B, T) float32, before the rectifier, and `rectified`, (B, T) float32, probabilities after it.
        """
        present = inputs[PRESENT]
        logit = self.network(self._batch(inputs, present)).logits
        if self.loss_offset is not None:
            logit = logit + self.loss_offset(present)
        after = logit if self.rectifier is None else logit + self.rectifier(present)
        return {"logit": logit, "rectified": torch.sigmoid(after)}

    def _batch(self, inputs: Mapping[str, Tensor], present: Tensor) -> Batch:
        """The batch that the network reads; rows have no label and no subject."""
        number = present.sum(1) * 0
        label = torch.zeros(present.shape[0], self.num_tasks)
        read = zip(self.names, self.readings, strict=True)
        return Batch(
            row_id=number,
            subject=number,
            present=present,
            inputs={name: reading(inputs[name]) for name, reading in read},
            label=label,
            label_mask=label.bool(),
        )
