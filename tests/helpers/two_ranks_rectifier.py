"""What each of two gloo processes does; it imports as little as it can."""

from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import torch
import torch.distributed as dist
from torch import Tensor, nn

from data_modules import patterns
from data_modules.batch import Batch
from mmnar_lightning.evaluation.predict import predict
from mmnar_lightning.outputs import ScoredRows
from mmnar_lightning.rectifier.config import RectifierConfig
from mmnar_lightning.rectifier.rectifier import Rectifier

WORLD_SIZE, NUM_ROWS, COHORT = 2, 240, "one"
SHARES = {0: torch.cat([torch.arange(0, 150), torch.tensor([200])]), 1: torch.arange(150, 240)}
"""Rows of each rank: more on one of them, and row 200 on both."""


class Model(nn.Module):
    """Logits that are a fixed function of the inputs, row by row."""

    def forward(self, batch: Batch) -> SimpleNamespace:
        assert not self.training
        inputs = batch.inputs["x"]
        assert isinstance(inputs, Tensor)
        return SimpleNamespace(logits=inputs - 1)


def batch_of(rows: Tensor) -> Batch:
    """Rows of a fixed table; two tasks, the second of which misses labels."""
    generator = torch.Generator().manual_seed(5)
    inputs = torch.randn(NUM_ROWS, 2, generator=generator)
    code = torch.randint(8, (NUM_ROWS,), generator=generator)
    label = (torch.rand(NUM_ROWS, 2, generator=generator) < torch.sigmoid(inputs + code[:, None] / 4)).float()
    known = torch.rand(NUM_ROWS, 2, generator=generator) < torch.tensor([1.0, 0.7])
    return Batch(
        row_id=rows,
        subject=rows // 2,
        present=patterns.decode(code, 3)[rows],
        inputs={"x": inputs[rows]},
        label=label[rows],
        label_mask=known[rows],
    )


def batches(rows: Tensor) -> list[Batch]:
    """Batches of 64 rows, in falling order: the result may not depend on it."""
    return [batch_of(part) for part in torch.split(rows.flip(0), 64)]


def fitted(rows: ScoredRows) -> Rectifier:
    """Offsets that these rows give, and their strength."""
    settings = RectifierConfig(min_rows=5)
    rectifier = Rectifier(2, 3, range(8), NUM_ROWS, settings)
    rectifier.fit(**rows.labelled, cohort=COHORT)
    return rectifier


def outcome(rows: ScoredRows) -> dict[str, Tensor]:
    """All columns, and all buffers of the rectifier."""
    return {**vars(rows), **{f"rectifier/{name}": value for name, value in fitted(rows).state_dict().items()}}


def run_rank(rank: int, folder: Path) -> None:
    """Predict this rank's share, and fit."""
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo",
        init_method=f"file://{folder}/rendezvous",
        rank=rank,
        world_size=WORLD_SIZE,
        timeout=timedelta(minutes=10),
    )
    torch.save(outcome(predict(Model(), batches(SHARES[rank]), torch.device("cpu"))), folder / f"{rank}.pt")
    dist.destroy_process_group()
