"""Time of a training step with and without the label-free terms, and of what was tried to make it shorter.

Every kind of step is as a ratio to that of the defaults, by row, in turns; the first lines have the floating-point
operations beside it.
"""

import argparse
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from data_modules.batch import Batch
from data_modules.vocabulary import Modality
from mmnar_lightning.losses.config import AUXILIARY, ObjectiveConfig
from mmnar_lightning.model import MMNARModel
from mmnar_lightning.nn.config import LeaveOneOutConfig, ModelConfig
from mmnar_lightning.objective import Objective

MODALITIES, TASKS, ROWS, LARGE = 4, 3, 128, 512
WIDTHS = (656, 1376, 1024, 1024)
"""Of the simulated default."""


def batch(rows: int = ROWS) -> Batch:
    """Random rows, three quarters of whose modalities are there."""
    generator = torch.Generator().manual_seed(0)
    return Batch(
        row_id=torch.arange(rows),
        subject=torch.arange(rows),
        present=torch.rand(rows, MODALITIES, generator=generator) < 0.75,
        inputs={f"m{m}": torch.randn(rows, width, generator=generator) for m, width in enumerate(WIDTHS)},
        label=torch.randint(2, (rows, TASKS), generator=generator).float(),
        label_mask=torch.ones(rows, TASKS, dtype=torch.bool),
    )


class Step:
    """Forward, loss, backward and update."""

    def __init__(self, auxiliary: bool, sampled: int, *, fused: bool = True, narrow: bool = False) -> None:
        torch.manual_seed(0)
        weights: dict[str, Any] = {} if auxiliary else dict.fromkeys(AUXILIARY, 0.0)
        config = ObjectiveConfig(**weights)
        modalities = [Modality(name=f"m{m}", kind="vectors", width=width) for m, width in enumerate(WIDTHS)]
        settings = ModelConfig(loo=LeaveOneOutConfig(sampled=sampled))
        self.model = MMNARModel(modalities, TASKS, settings, config.auxiliary)
        self.objective = Objective([f"t{t}" for t in range(TASKS)], config)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), fused=fused or None)
        self.narrow = narrow

    def __call__(self, rows: Batch) -> None:
        """One step."""
        self.optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16) if self.narrow else nullcontext():
            loss = self.objective(self.objective.terms(self.model(rows), rows))
        loss.backward()
        self.optimizer.step()


def by_products(query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None, **given: Any) -> Tensor:
    """Attention as two products of matrices and a softmax between them."""
    assert not any(given.values()), f"{given}: without dropout or other scales"
    weight = query @ key.transpose(-2, -1) * query.shape[-1] ** -0.5
    masked = weight if attn_mask is None else weight.masked_fill(~attn_mask, -torch.inf)
    found: Tensor = masked.softmax(-1) @ value
    return found


@contextmanager
def attention_by_products() -> Iterator[None]:
    """Replace the attention of PyTorch."""
    with patch.object(functional, "scaled_dot_product_attention", by_products):
        yield


def flops(step: Step, rows: Batch) -> int:
    """Floating-point operations of forward and backward."""
    with FlopCounterMode(display=False) as counter:
        step(rows)
    return int(counter.get_total_flops())


def main() -> None:
    """Interleave the kinds of step and print medians as ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=60)
    repeats = parser.parse_args().repeats
    rows, large, usual, plain = batch(), batch(LARGE), "one modality hidden (default)", "supervised terms alone"
    hidden, every = Step(True, 1), "each hidden in turn (before)"
    steps = {plain: (Step(False, 0), rows), usual: (hidden, rows), every: (Step(True, 0), rows)}
    work = {name: flops(*own) for name, own in steps.items()}
    by_product = "attention by products"
    steps |= {
        f"{LARGE} rows": (hidden, large),
        by_product: (hidden, rows),
        "AdamW, weight by weight": (Step(True, 1, fused=False), rows),
        "bf16-mixed on this processor": (Step(True, 1, narrow=True), rows),
    }
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for turn in range(repeats + 5):
        for name, (step, given) in steps.items():
            with attention_by_products() if name == by_product else nullcontext():
                started = time.process_time()
                step(given)
                spent = time.process_time() - started
            if turn >= 5:
                seconds[name].append(spent / len(given.row_id))
    for name, found in seconds.items():
        taken = statistics.median(found) / statistics.median(seconds[usual])
        operations = f"; operations {work[name] / work[usual]:.2f} times" if name in work else ""
        print(f"{name:>30}: {statistics.median(found) * 1e6:7.1f} microseconds a row, {taken:.2f} times{operations}")


if __name__ == "__main__":
    main()
