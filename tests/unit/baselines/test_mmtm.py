"""MMTM against a loop over rows and modalities."""

from dataclasses import replace

import numpy as np
import torch

from mmnar_lightning.baselines.config import BaselineConfig
from tests.helpers.baselines import COUNT, TASKS, telling_batch, without_dropout

BATCH = telling_batch(40)
CONFIG = BaselineConfig(name="mmtm")


def transferred(stage, branches):
    """The branches of one row, present modality -> channels, after the transfer module of a stage."""
    dim = len(next(iter(branches.values())))
    joined = np.concatenate([branches.get(m, np.zeros(dim, np.float32)) for m in range(COUNT)])
    squeeze, excite = stage.squeeze[0], stage.excite
    joint = np.maximum(squeeze.weight.numpy() @ joined + squeeze.bias.numpy(), 0)
    assert len(joint) == COUNT * dim // 4
    found = {}
    for m, own in branches.items():
        rows = slice(m * dim, (m + 1) * dim)
        gate = excite.weight.numpy()[rows] @ joint + excite.bias.numpy()[rows]
        found[m] = 2 / (1 + np.exp(-gate)) * own
    return found


@torch.no_grad()
def test_it_equals_a_loop_over_rows_and_modalities() -> None:
    made = without_dropout(CONFIG, BATCH).eval()
    outputs = made(BATCH)
    for row, present in enumerate(BATCH.present.tolist()):
        branches = {m: outputs.encodings[row, m].numpy() for m in range(COUNT) if present[m]}
        expected = made.empty.numpy()
        if branches:
            for stage in made.stages:
                branches = transferred(stage, branches)
                branches = {m: own + stage.layers[m](torch.from_numpy(own)).numpy() for m, own in branches.items()}
            expected = np.mean([made.heads[m](torch.from_numpy(own)).numpy() for m, own in branches.items()], axis=0)
        np.testing.assert_allclose(outputs.logits[row], expected, atol=2e-4)


def test_a_row_with_nothing_present_starts_at_the_prior() -> None:
    nothing = replace(BATCH, present=torch.zeros_like(BATCH.present))
    made = without_dropout(CONFIG, BATCH)
    outputs = made(nothing)
    torch.testing.assert_close(outputs.logits, made.empty.expand(40, len(TASKS)))
    outputs.logits.sum().backward()
    for name, parameter in made.named_parameters():
        assert parameter.grad is not None, name
        assert bool(parameter.grad.isfinite().all()), name
