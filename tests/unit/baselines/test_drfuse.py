"""DrFuse against a loop over rows, tasks and tokens."""

from itertools import combinations

import numpy as np
import pytest
import torch

from data_modules.errors import UserError
from mmnar_lightning.baselines.config import BaselineConfig, DrFuseConfig
from mmnar_lightning.baselines.drfuse import pool_logits
from tests.helpers.baselines import COUNT, TASKS, telling_batch, without_dropout

BATCH = telling_batch(40)
CONFIG = BaselineConfig(name="drfuse", drfuse=DrFuseConfig(disentanglement=0.5, ranking=2.0))


def sigmoid(value):
    return 1 / (1 + np.exp(-value))


def linear(layer, value):
    return layer.weight.numpy().astype(float) @ value + layer.bias.numpy()


def entropy(p):
    return -(p * np.log(p) + (1 - p) * np.log(1 - p))


def tokens_of(made, outputs, row):
    """Shared and distinct representations of the present modalities, and the tokens by their number."""
    shared, distinct = {}, {}
    for m in range(COUNT):
        if BATCH.present[row, m]:
            encoding = outputs.encodings[row, m]
            shared[m] = linear(made.common, made.to_shared[m](encoding).numpy())
            distinct[m] = made.to_distinct[m](encoding).numpy().astype(float)
    pooled = np.zeros(made.common.out_features)
    if shared:
        mean = np.mean([sigmoid(own) for own in shared.values()], axis=0)
        pooled = np.log(mean / (1 - mean))
    return shared, distinct, {0: pooled} | {m + 1: own for m, own in distinct.items()}


def attention_of(made, tokens, task):
    """Token -> its share of the attention of a task."""
    dim = made.common.out_features
    query = linear(made.query, np.mean(list(tokens.values()), axis=0))
    scores = {j: query @ linear(made.keys, own)[task * dim : (task + 1) * dim] / dim**0.5 for j, own in tokens.items()}
    total = sum(np.exp(score) for score in scores.values())
    return {j: np.exp(score) / total for j, score in scores.items()}


class Loop:
    """Logits and terms, entry by entry."""

    def __init__(self, made, outputs) -> None:
        self.logits = np.zeros((len(BATCH), len(TASKS)))
        self.divergences: list[float] = []
        self.overlaps: list[float] = []
        self.ranks: list[float] = []
        for row in range(len(BATCH)):
            shared, distinct, tokens = tokens_of(made, outputs, row)
            for i in shared:
                norms = np.linalg.norm(shared[i]) * np.linalg.norm(distinct[i])
                self.overlaps.append(abs(shared[i] @ distinct[i]) / norms)
                for j in (j for j in shared if j > i):
                    p, q = sigmoid(shared[i]), sigmoid(shared[j])
                    self.divergences.append((entropy((p + q) / 2) - (entropy(p) + entropy(q)) / 2).mean())
            for task in range(len(TASKS)):
                attention = attention_of(made, tokens, task)
                attended = sum(share * linear(made.value, tokens[j]) for j, share in attention.items())
                self.logits[row, task] = made.weight[task].numpy() @ attended + made.bias[task].item()
                if BATCH.label_mask[row, task] and shared:
                    self.rank(made, tokens, attention, task, BATCH.label[row, task].item())

    def rank(self, made, tokens, attention, task, label) -> None:
        losses = {}
        for j, own in tokens.items():
            p = sigmoid(linear(made.alone[j], own)[task])
            losses[j] = -np.log(p) if label else -np.log(1 - p)
        for pair in combinations(losses, 2):
            better, worse = sorted(pair, key=losses.__getitem__)
            self.ranks.append(max(0.0, 0.1 - (attention[better] - attention[worse])))


@torch.no_grad()
def test_it_equals_a_loop_over_rows_tasks_and_tokens() -> None:
    made = without_dropout(CONFIG, BATCH).train()
    outputs = made(BATCH)
    loop = Loop(made, outputs)
    np.testing.assert_allclose(outputs.logits, loop.logits, atol=5e-4)
    assert set(outputs.terms) == {"alignment", "orthogonality", "ranking"}
    assert outputs.terms["alignment"].item() == pytest.approx(0.5 * np.mean(loop.divergences), rel=1e-3)
    assert outputs.terms["orthogonality"].item() == pytest.approx(0.5 * np.mean(loop.overlaps), rel=1e-3)
    assert outputs.terms["ranking"].item() == pytest.approx(2.0 * np.mean(loop.ranks), rel=1e-3)
    assert made.eval()(BATCH).terms == {}


def test_pooling_two_modalities_is_the_formula_of_the_paper() -> None:
    a, b = torch.linspace(-4, 4, 9, dtype=torch.float64), torch.linspace(3, -1, 9, dtype=torch.float64)
    found = pool_logits(torch.stack([a, b])[None], torch.tensor([[True, True]]))[0]
    total = a.exp() + b.exp()
    torch.testing.assert_close(found, torch.log(2 * torch.exp(a + b) + total) - torch.log(2 + total))
    alone = pool_logits(torch.stack([a, b])[None], torch.tensor([[False, True]]))[0]
    torch.testing.assert_close(alone, b)


@torch.no_grad()
def test_every_token_has_a_head_on_the_rows_that_have_it() -> None:
    made = without_dropout(CONFIG, BATCH).eval()
    outputs = made(BATCH)
    some = BATCH.present.any(1, keepdim=True)
    assert torch.equal(outputs.side.shown, torch.cat([some, BATCH.present], dim=1))
    _, _, tokens = tokens_of(made, outputs, 3)
    for j, own in tokens.items():
        np.testing.assert_allclose(outputs.side.logits[3, j], linear(made.alone[j], own), atol=5e-4)


def test_the_ranking_moves_attention_and_no_head() -> None:
    made = without_dropout(CONFIG, BATCH).train()
    made(BATCH).terms["ranking"].backward()
    assert all(parameter.grad is None for parameter in made.alone.parameters())
    assert bool(made.keys.weight.grad.any())


@pytest.mark.parametrize("name", ["disentanglement", "ranking"])
def test_nonsense_is_refused(name: str) -> None:
    with pytest.raises(UserError, match=rf"baseline\.drfuse\.{name}=-1\.0 must be at least 0 and finite"):
        DrFuseConfig(**{name: -1.0})
