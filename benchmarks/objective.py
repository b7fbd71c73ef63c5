"""Time of a training step with the label-free terms, beside the floating-point operations of their extra work."""

import argparse
import statistics
import time
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from data_modules.batch import Batch
from data_modules.vocabulary import Modality
from mmnar_lightning.losses.config import AUXILIARY, ObjectiveConfig
from mmnar_lightning.model import MMNARModel
from mmnar_lightning.nn.config import LeaveOneOutConfig, ModelConfig
from mmnar_lightning.objective import Objective

MODALITIES, TASKS, ROWS = 4, 3, 128
WIDTHS = (656, 1376, 1024, 1024)
"""Of the simulated default."""


def batch() -> Batch:
    """Random rows, three quarters of whose modalities are there."""
    generator = torch.Generator().manual_seed(0)
    return Batch(
        row_id=torch.arange(ROWS),
        subject=torch.arange(ROWS),
        present=torch.rand(ROWS, MODALITIES, generator=generator) < 0.75,
        inputs={f"m{m}": torch.randn(ROWS, width, generator=generator) for m, width in enumerate(WIDTHS)},
        label=torch.randint(2, (ROWS, TASKS), generator=generator).float(),
        label_mask=torch.ones(ROWS, TASKS, dtype=torch.bool),
    )


class Step:
    """Forward, loss, backward and update."""

    def __init__(self, auxiliary: bool, sampled: int) -> None:
        torch.manual_seed(0)
        weights: dict[str, Any] = {} if auxiliary else dict.fromkeys(AUXILIARY, 0.0)
        config = ObjectiveConfig(**weights)
        modalities = [Modality(name=f"m{m}", kind="vectors", width=width) for m, width in enumerate(WIDTHS)]
        settings = ModelConfig(loo=LeaveOneOutConfig(sampled=sampled))
        self.model = MMNARModel(modalities, TASKS, settings, config.auxiliary)
        self.objective = Objective([f"t{t}" for t in range(TASKS)], config)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), fused=True)

    def __call__(self, rows: Batch) -> None:
        """One step."""
        self.optimizer.zero_grad()
        self.objective(self.objective.terms(self.model(rows), rows)).backward()
        self.optimizer.step()


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
    steps = {"supervised": Step(False, 0), "sampled 1": Step(True, 1), "each in turn": Step(True, 0)}
    rows = batch()
    work = {name: flops(step, rows) for name, step in steps.items()}
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for turn in range(repeats + 5):
        for name, step in steps.items():
            started = time.process_time()
            step(rows)
            if turn >= 5:
                seconds[name].append(time.process_time() - started)
    plain = "supervised"
    for name in steps:
        taken = statistics.median(seconds[name]) / statistics.median(seconds[plain])
        expected = work[name] / work[plain]
        print(
            f"{name:>12}: {statistics.median(seconds[name]) * 1e3:6.1f} ms of processor, {taken:.2f} times the "
            f"supervised step; operations {expected:.2f} times; time over operations {taken / expected:.2f}"
        )


if __name__ == "__main__":
    main()
