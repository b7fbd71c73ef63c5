"""MedFuse against a loop over rows and the modalities that they have."""

import numpy as np
import torch

from mmnar_lightning.baselines.config import BaselineConfig
from tests.helpers.baselines import COUNT, telling_batch, without_dropout

BATCH = telling_batch(40)
CONFIG = BaselineConfig(name="medfuse")


def sigmoid(value):
    return 1 / (1 + np.exp(-value))


def step(cell, read, hidden, memory):
    """One step of an LSTM (Hochreiter and Schmidhuber, 1997); gates in the order input, forget, cell, output."""
    both = cell.weight_ih.numpy() @ read + cell.bias_ih.numpy() + cell.weight_hh.numpy() @ hidden + cell.bias_hh.numpy()
    enter, keep, new, leave = np.split(both, 4)
    memory = sigmoid(keep) * memory + sigmoid(enter) * np.tanh(new)
    return sigmoid(leave) * np.tanh(memory), memory


@torch.no_grad()
def test_it_equals_a_loop_over_the_present_modalities() -> None:
    made = without_dropout(CONFIG, BATCH).eval()
    outputs = made(BATCH)
    width = made.cell.hidden_size
    for row, present in enumerate(BATCH.present.tolist()):
        hidden, memory = np.zeros(width), np.zeros(width)
        for m in (m for m in range(COUNT) if present[m]):
            encoding = outputs.encodings[row, m].numpy()
            read = made.project[m].weight.numpy() @ encoding + made.project[m].bias.numpy()
            hidden, memory = step(made.cell, read, hidden, memory)
            own = made.alone[m].weight.numpy() @ encoding + made.alone[m].bias.numpy()
            np.testing.assert_allclose(outputs.side.logits[row, m], own, atol=2e-4)
        expected = made.head.weight.numpy() @ hidden + made.head.bias.numpy()
        np.testing.assert_allclose(outputs.logits[row], expected, atol=2e-4)
    assert torch.equal(outputs.side.shown, BATCH.present)


@torch.no_grad()
def test_the_order_of_the_modalities_is_that_of_the_cohort() -> None:
    made = without_dropout(CONFIG, BATCH).eval()
    encodings = made.encoders(BATCH)
    turned = made._read(encodings.flip(1), BATCH.present.flip(1))
    assert not torch.allclose(turned, made._read(encodings, BATCH.present), atol=1e-3)
