"""M3Care against a loop over patients, written from the paper's equations in float64."""

import math
from typing import Any

import numpy as np
import pytest
import torch

from mmnar_lightning.baselines.m3care import STABILITY, M3Care
from tests.helpers.baselines import COUNT, inputs_of, telling_batch
from tests.helpers.loops import array, attend, gelu, layer_norm, linear, relu

BATCH = telling_batch(12, seed=3)
TRAIN = telling_batch(300)


def model() -> Any:
    torch.manual_seed(0)
    made = M3Care(inputs_of(TRAIN, memory=True)).eval()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return made


def gaussian(distance: float) -> float:
    return (math.exp(-distance / 0.5) + math.exp(-distance) + math.exp(-distance / 2)) / 3


class Patients:
    """A row, number 0, and the memory."""

    def __init__(self, made: Any, row: int) -> None:
        self.made = made
        memory, encodings = array(made.memory.encode(made.encoders)), array(made.encoders(BATCH)[[row]])
        self.has = [BATCH.present[row].tolist(), *made.memory.present.tolist()]
        self.encodings = np.concatenate([encodings, memory])
        self.mapped = [[self.map(m, own[m]) for m in range(COUNT)] for own in self.encodings]
        every = range(1, len(self.has))
        self.scales = []
        for m in range(COUNT):
            pairs = [(i, j) for i in every for j in every if i != j and self.has[i][m] and self.has[j][m]]
            own = [((self.encodings[i, m] - self.encodings[j, m]) ** 2).sum() for i, j in pairs]
            deep = [((self.mapped[i][m] - self.mapped[j][m]) ** 2).sum() for i, j in pairs]
            self.scales.append((sum(own) / len(pairs), sum(deep) / len(pairs)))

    def map(self, m: int, encoding: np.ndarray) -> np.ndarray:
        first, norm, _, _, second = self.made.mapped[m]
        return linear(second, gelu(layer_norm(norm, linear(first, encoding))))

    def similarity(self, i: int, j: int) -> float:
        """S(i, j) above the threshold, else 0."""
        found: list[float] = []
        for m in range(COUNT):
            if self.has[i][m] and self.has[j][m]:
                share = 1 / (1 + math.exp(-self.made.mixing[m].item()))
                sides = (self.encodings[:, m], [own[m] for own in self.mapped])
                own, deep = (
                    gaussian(((side[i] - side[j]) ** 2).sum() / scale)
                    for side, scale in zip(sides, self.scales[m], strict=True)
                )
                found.append((1 - share) * deep + share * own)
        similarity = sum(found) / len(found) if found else 0.0
        return similarity if similarity > 1 / (1 + math.exp(-self.made.threshold.item())) else 0.0

    def neighbours(self, i: int, m: int) -> dict[int, float]:
        """Weights of the patients that have a modality: of the memory, and the patient itself."""
        others = range(1, len(self.has)) if i else range(len(self.has))
        weights = {j: self.similarity(i, j) for j in others if self.has[j][m]}
        total = sum(weights.values())
        return {j: weight / total for j, weight in weights.items() if weight > 0}

    def message(self, m: int) -> np.ndarray:
        layer = self.made.messages[m]
        found = np.zeros_like(self.encodings[0, m])
        for j, weight in self.neighbours(0, m).items():
            hidden = sum(
                (other * linear(layer.first, self.encodings[k, m]) for k, other in self.neighbours(j, m).items()),
                np.zeros_like(found),
            )
            found += weight * linear(layer.second, relu(hidden))
        return found

    def logits(self) -> np.ndarray:
        made, tokens = self.made, []
        for m in range(COUNT):
            token = self.message(m)
            if self.has[0][m]:
                own = self.encodings[0, m]
                gates = [linear(made.own_gate[m], own)[0], linear(made.message_gate[m], token)[0]]
                first, second = (1 / (1 + math.exp(-gate)) for gate in gates)
                token = (first * own + second * token) / (first + second)
            tokens.append(token + array(made.kind[m]))
        tokens = attend(made.block, tokens)
        norm, first, _, second = made.block.feed_forward
        tokens = [token + linear(second, gelu(linear(first, layer_norm(norm, token)))) for token in tokens]
        norm, first, _ = made.hidden
        return linear(made.head, gelu(linear(first, layer_norm(norm, np.concatenate(tokens)))))


def test_logits_are_those_of_the_loop() -> None:
    made = model()
    outputs = made(BATCH)
    assert outputs.terms == {}
    assert len(BATCH.pattern.unique()) > 4
    for row in range(len(BATCH)):
        np.testing.assert_allclose(array(outputs.logits[row]), Patients(made, row).logits(), rtol=1e-4, atol=1e-4)


def test_the_term_is_the_mean_change_of_length_over_present_modalities() -> None:
    made = model().train()
    torch.manual_seed(0)
    outputs = made(BATCH)
    changes = []
    for row in range(len(BATCH)):
        for m in range(COUNT):
            if BATCH.present[row, m]:
                encoding = outputs.encodings[row, m]
                changes.append(abs((made.mapped[m](encoding).norm() - encoding.norm()).item()))
    assert outputs.terms["stability"].item() == pytest.approx(STABILITY * sum(changes) / len(changes), rel=1e-5)


def test_a_row_that_lacks_a_modality_receives_it_from_those_that_have_it() -> None:
    made = model()
    before = made(BATCH).logits
    with torch.no_grad():
        made.memory.m1_mean.add_(torch.randn(made.memory.m1_mean.shape))
    changed = (made(BATCH).logits - before).abs().amax(1) > 1e-4
    some = BATCH.present.any(1)
    assert bool(changed[some & ~BATCH.present[:, 1]].all())
    assert not bool(changed[~some].any()), "nothing is known of a row without any modality"


def test_the_threshold_and_the_encoders_learn_from_the_memory() -> None:
    made = model()
    made(BATCH).logits.sum().backward()
    assert made.threshold.grad.item() != 0.0
    lone = made.encoders.encoders["m1_encoder"].norm.weight
    made.zero_grad()
    rows = BATCH.select(~BATCH.present[:, 1] & BATCH.present.any(1))
    made(rows).logits.sum().backward()
    assert bool(lone.grad.abs().sum() > 0)
