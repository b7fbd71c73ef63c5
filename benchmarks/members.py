"""Time of a step of five members of inner folds, one after the other and as one batched model.

`python -m benchmarks.members`. The batched form stacks the weights (`torch.func`) and gives every member every row,
with the labels that are not its own masked, because all members must have the same number of rows.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call, stack_module_state, vmap

from data_modules.batch import Batch
from data_modules.vocabulary import Modality
from mmnar_lightning.losses.config import ObjectiveConfig
from mmnar_lightning.model import MMNARModel
from mmnar_lightning.nn.config import FusionConfig, LeaveOneOutConfig, ModelConfig
from mmnar_lightning.objective import Objective

MEMBERS, MODALITIES, TASKS = 5, 4, 3
WIDTHS = (24, 16, 8, 16)
SIZES = ((64, 32, 4), (128, 64, 4), (256, 64, 4), (128, 128, 8))
"""Rows, width and heads."""


def members(dim: int, heads: int) -> list[MMNARModel]:
    """Networks of one shape."""
    fusion = FusionConfig(dim=dim, num_heads=heads, dropout=0.0)
    settings = ModelConfig(loo=LeaveOneOutConfig(sampled=1), fusion=fusion)
    modalities = [Modality(name=f"m{m}", kind="vectors", width=width) for m, width in enumerate(WIDTHS)]
    return [MMNARModel(modalities, TASKS, settings, ObjectiveConfig().auxiliary) for _ in range(MEMBERS)]


def batch(num_rows: int) -> Batch:
    """Random rows, three quarters of whose modalities are there; row i is held out from member i modulo five."""
    row = torch.arange(num_rows)
    return Batch(
        row_id=row,
        subject=row,
        present=torch.rand(num_rows, MODALITIES) < 0.75,
        inputs={f"m{m}": torch.randn(num_rows, width) for m, width in enumerate(WIDTHS)},
        label=torch.randint(2, (num_rows, TASKS)).float(),
        label_mask=torch.ones(num_rows, TASKS, dtype=torch.bool),
    )


def in_turn(models: list[MMNARModel], objective: Objective, rows: Batch) -> Callable[[], None]:
    """Forward, loss and backward of each member with its own rows."""
    own = [rows.select(rows.row_id % MEMBERS != number) for number in range(MEMBERS)]

    def step() -> None:
        losses = [objective(objective.terms(model(part), part)) for model, part in zip(models, own, strict=True)]
        total: Any = torch.stack(losses).sum()
        total.backward()
        for model in models:
            model.zero_grad()

    return step


def batched(models: list[MMNARModel], objective: Objective, rows: Batch) -> Callable[[], None]:
    """The same with stacked weights."""
    stacked, buffers = stack_module_state(models)
    weights = {name: weight.detach().requires_grad_() for name, weight in stacked.items()}
    trained = rows.row_id % MEMBERS != torch.arange(MEMBERS)[:, None]

    def loss(weight: dict[str, Tensor], buffer: dict[str, Tensor], mine: Tensor) -> Tensor:
        shown = replace(rows, label_mask=rows.label_mask & mine[:, None])
        total: Tensor = objective(objective.terms(functional_call(models[0], (weight, buffer), (shown,)), shown))
        return total

    def step() -> None:
        total: Any = vmap(loss, randomness="different")(weights, buffers, trained).sum()
        total.backward()
        for weight in weights.values():
            weight.grad = None

    return step


def main() -> None:
    """Interleave both and print medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=20)
    repeats = parser.parse_args().repeats
    objective = Objective([f"t{t}" for t in range(TASKS)], ObjectiveConfig())
    for num_rows, dim, heads in SIZES:
        torch.manual_seed(0)
        models, rows = members(dim, heads), batch(num_rows)
        steps = {"turn": in_turn(models, objective, rows), "batched": batched(models, objective, rows)}
        seconds: dict[str, list[float]] = {name: [] for name in steps}
        for turn in range(repeats + 3):
            for name, step in steps.items():
                started = time.process_time()
                step()
                if turn >= 3:
                    seconds[name].append(time.process_time() - started)
        turn_ms, batched_ms = (statistics.median(seconds[name]) * 1e3 for name in steps)
        print(
            f"{num_rows} rows, width {dim}: {MEMBERS} members in turn {turn_ms:.1f} ms of processor, as one batched "
            f"model {batched_ms:.1f} ms, {batched_ms / turn_ms:.2f} times"
        )


if __name__ == "__main__":
    main()
