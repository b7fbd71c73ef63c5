"""What each of two gloo processes does with the networks among the baselines."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from unittest.mock import patch

import torch
import torch.distributed as dist
from torch import Tensor

from data_modules.batch import Batch
from mmnar_lightning.baselines.config import BaselineConfig, CrossModalAutoencoderConfig
from mmnar_lightning.baselines.registry import BASELINES, NetworkBaseline
from mmnar_lightning.losses.config import ObjectiveConfig
from mmnar_lightning.objective import Objective
from tests.helpers.baselines import LABEL_FREE, TASKS, telling_batch, without_dropout
from tests.helpers.batches import take

WORLD_SIZE, ROWS = 2, 20
NETWORKS = [name for name, found in BASELINES.items() if isinstance(found, NetworkBaseline)]
STILL = CrossModalAutoencoderConfig(blanking=0.0)


def data() -> Batch:
    """Rows whose first half has far fewer modalities and known labels than the second."""
    batch = telling_batch(ROWS, seed=3)
    first = torch.arange(ROWS)[:, None] < ROWS // 2
    few = torch.arange(batch.present.shape[1]) == 1
    return replace(
        batch,
        present=batch.present & (~first | few),
        label_mask=batch.label_mask & (~first | (torch.arange(ROWS)[:, None] % 4 == 0)),
    )


def without_first(present: Tensor, *_: float) -> Tensor:
    """Rows of several modalities lose the first that they have."""
    first = present.cumsum(1) == 1
    return present & ~(first & (present.sum(1, keepdim=True) >= 2))


@contextmanager
def nothing_drawn() -> Iterator[None]:
    """What a network draws in training follows from the row instead."""
    with (
        patch("torch.randn_like", torch.zeros_like),
        patch("mmnar_lightning.baselines.grape.drop", without_first),
        patch("mmnar_lightning.baselines.muse.keep_some", without_first),
    ):
        yield


def gradients(name: str, batch: Batch) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The terms of a network on some rows, and the gradient of their sum."""
    made = without_dropout(BaselineConfig(name=name, cm_ae=STILL), data()).train()
    objective = Objective(TASKS, ObjectiveConfig(**LABEL_FREE))
    with nothing_drawn():
        terms = objective.terms(made(batch), batch)
    objective(terms).backward()
    gradient = {}
    for key, parameter in made.named_parameters():
        assert parameter.grad is not None, f"{name}: DDP waits for a gradient of {key}"
        gradient[key] = parameter.grad
    return {key: term.detach() for key, term in terms.items()}, gradient


def run_rank(rank: int, folder: Path) -> None:
    """Terms and averaged gradients, as DDP would have them, of one half of the rows."""
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo",
        init_method=f"file://{folder}/rendezvous",
        rank=rank,
        world_size=WORLD_SIZE,
        timeout=timedelta(minutes=10),
    )
    half = range(rank * ROWS // 2, (rank + 1) * ROWS // 2)
    found = {}
    for name in NETWORKS:
        terms, gradient = gradients(name, take(data(), half))
        for value in gradient.values():
            dist.all_reduce(value)
        found[name] = {"terms": terms, "gradient": {key: value / WORLD_SIZE for key, value in gradient.items()}}
    torch.save(found, folder / f"{rank}.pt")
    dist.destroy_process_group()
