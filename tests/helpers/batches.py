"""Batches and models for tests, from generators of their own."""

from collections.abc import Sequence

import torch
from torch import Tensor

from data_modules.batch import Batch, Items
from data_modules.vocabulary import Modality
from mmnar_lightning.losses.config import AUXILIARY
from mmnar_lightning.model import MMNARModel
from mmnar_lightning.nn.config import FusionConfig, LeaveOneOutConfig, ModelConfig

DIM, NUM_TASKS = 16, 3


def modalities(count: int) -> list[Modality]:
    """Modalities of widths 3, 4, 5, ..."""
    return [Modality(name=f"m{number}", kind="vectors", width=3 + number) for number in range(count)]


def make_batch(present: Tensor, *, seed: int = 0, num_tasks: int = NUM_TASKS) -> Batch:
    """A batch of random inputs and labels; every modality holds numbers, the absent ones too."""
    generator = torch.Generator().manual_seed(seed)
    rows, count = present.shape
    return Batch(
        row_id=torch.arange(rows),
        subject=torch.arange(rows),
        present=present,
        inputs={entry.name: torch.randn(rows, entry.width, generator=generator) for entry in modalities(count)},
        label=torch.randint(2, (rows, num_tasks), generator=generator).float(),
        label_mask=torch.rand(rows, num_tasks, generator=generator) < 0.8,
    )


def take(batch: Batch, rows: Sequence[int]) -> Batch:
    """Some rows of a batch, in any order."""
    index = torch.tensor(rows)
    return Batch(
        row_id=batch.row_id[index],
        subject=batch.subject[index],
        present=batch.present[index],
        inputs={name: values[index] for name, values in batch.inputs.items()},
        label=batch.label[index],
        label_mask=batch.label_mask[index],
    )


def fill_absent(batch: Batch, value: float) -> Batch:
    """The same batch with a value in every slot of an absent modality."""
    inputs: dict[str, Tensor | Items] = {}
    for position, (name, values) in enumerate(batch.inputs.items()):
        assert isinstance(values, Tensor), "documents and images have no slots"
        inputs[name] = torch.where(batch.present[:, position, None], values, value)
    return Batch(
        row_id=batch.row_id,
        subject=batch.subject,
        present=batch.present,
        inputs=inputs,
        label=batch.label,
        label_mask=batch.label_mask,
    )


def make_model(
    count: int,
    *,
    num_blocks: int = 1,
    dropout: float = 0.0,
    seed: int = 0,
    auxiliary: Sequence[str] = AUXILIARY,
    sampled: int = 0,
) -> MMNARModel:
    """A small model whose parameters are all far from their neutral starting values."""
    torch.manual_seed(seed)
    config = ModelConfig(
        fusion=FusionConfig(dim=DIM, num_heads=4, num_blocks=num_blocks, dropout=dropout),
        loo=LeaveOneOutConfig(sampled=sampled),
    )
    model = MMNARModel(modalities(count), NUM_TASKS, config, auxiliary)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return model
