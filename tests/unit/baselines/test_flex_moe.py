"""Flex-MoE against a loop over rows, tokens and experts, written from the paper's equations in float64."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from data_modules.vocabulary import Modality
from mmnar_lightning.baselines.config import NUM_EXPERTS, FlexMoEConfig
from mmnar_lightning.baselines.flex_moe import ROUTING_WEIGHT, FlexMoE, expert_of, routing_loss
from tests.helpers.baselines import COUNT, inputs_of, telling_batch
from tests.helpers.loops import array, attend, gelu, layer_norm, linear

BATCH = telling_batch(30)
TOP_K = 3


def model() -> Any:
    torch.manual_seed(0)
    made = FlexMoE(inputs_of(BATCH), FlexMoEConfig(top_k=TOP_K)).eval()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return made


def mixture(experts: Any, token: np.ndarray) -> np.ndarray:
    logits = linear(experts.router, token)
    chosen = sorted(range(NUM_EXPERTS), key=lambda place: -logits[place])[:TOP_K]
    total = sum(math.exp(logits[place]) for place in chosen)
    mixed = np.zeros_like(token)
    for place in chosen:
        hidden = gelu(array(experts.first_weight[place]) @ token + array(experts.first_bias[place]))
        found = array(experts.second_weight[place]) @ hidden + array(experts.second_bias[place])
        mixed += math.exp(logits[place]) / total * found
    return mixed


def logits_of(made: Any, row: int) -> np.ndarray:
    encodings, present = array(made.encoders(BATCH)[row]), BATCH.present[row].tolist()
    pattern = sum(2**m for m in range(COUNT) if present[m])
    tokens = [encodings[m] if present[m] else array(made.bank[pattern, m]) for m in range(COUNT)]
    tokens = [token + array(made.kind[m]) for m, token in enumerate(tokens)]
    tokens = attend(made.sparse, tokens)
    tokens = [token + mixture(made.sparse.experts, layer_norm(made.sparse.feed_forward[0], token)) for token in tokens]
    tokens = attend(made.dense, tokens)
    norm, first, _, second = made.dense.feed_forward
    tokens = [token + linear(second, gelu(linear(first, layer_norm(norm, token)))) for token in tokens]
    norm, first, _, _ = made.hidden
    return linear(made.head, gelu(linear(first, layer_norm(norm, np.concatenate(tokens)))))


def test_logits_are_those_of_the_loop() -> None:
    made = model()
    outputs = made(BATCH)
    assert outputs.terms == {}
    for row in range(len(BATCH)):
        np.testing.assert_allclose(array(outputs.logits[row]), logits_of(made, row), rtol=1e-4, atol=1e-4)


def variation(values: np.ndarray) -> float:
    return float(((values - values.mean()) ** 2).mean() / values.mean() ** 2)


def test_the_term_of_the_router_is_that_of_the_loop() -> None:
    made = model()
    tokens = torch.randn(len(BATCH), COUNT, made.bank.shape[-1])
    _, routing = made.sparse.experts.train()(tokens)
    clean, gate = array(routing.clean), array(routing.gate)
    spread = np.log1p(np.exp(array(made.sparse.experts.noise(tokens)))) + 0.01
    assert (gate > 0).sum(-1).tolist() == [[TOP_K] * COUNT] * len(BATCH)
    np.testing.assert_allclose(gate.sum(-1), 1, atol=1e-6)
    expected, missed = 0.0, []
    for is_whole in (True, False):
        rows = [row for row in range(len(BATCH)) if bool(BATCH.present[row].all()) == is_whole]
        importance, load = np.zeros(NUM_EXPERTS), np.zeros(NUM_EXPERTS)
        for row in rows:
            for m in range(COUNT):
                importance += gate[row, m]
                load += array(routing.load[row, m])
                if not is_whole:
                    pattern = sum(2**place for place in range(COUNT) if BATCH.present[row, place])
                    odds = np.exp(clean[row, m])
                    missed.append(-math.log(odds[1 + pattern] / odds.sum()))
        skipped = 0 if is_whole else 1
        expected += variation(importance[skipped:]) + variation(load[skipped:])
    expected += sum(missed) / len(missed)
    assert routing_loss(routing, BATCH).item() == pytest.approx(expected, rel=1e-4)
    assert spread.min() > 0


def test_the_load_is_the_share_of_draws_that_choose_an_expert() -> None:
    made = model()
    experts = made.sparse.experts.train()
    token = torch.randn(1, 1, made.bank.shape[-1])
    draws = token.expand(8_000, 1, -1)
    with torch.no_grad():
        gate, load = experts(draws)[1].gate, experts(draws)[1].load
    np.testing.assert_allclose((gate > 0).double().mean(0), load.mean(0), atol=0.02)


def test_training_adds_the_term_with_the_weight_of_the_paper() -> None:
    made = model().train()
    torch.manual_seed(1)
    found = made(BATCH).terms["routing"]
    torch.manual_seed(1)
    tokens = torch.where(BATCH.present.unsqueeze(-1), made.encoders(BATCH), made.bank[BATCH.pattern]) + made.kind
    _, routing = made.sparse.routed(tokens, torch.ones_like(BATCH.present))
    torch.testing.assert_close(found, ROUTING_WEIGHT * routing_loss(routing, BATCH))


def test_every_pattern_of_four_modalities_has_an_expert_of_its_own() -> None:
    assert sorted(expert_of(torch.arange(16), 4).tolist()) == list(range(NUM_EXPERTS))
    assert set(expert_of(torch.arange(2**6), 6).tolist()) == set(range(NUM_EXPERTS))


def test_a_token_of_the_bank_belongs_to_a_pattern_and_a_modality() -> None:
    made = model()
    before = made(BATCH).logits
    with torch.no_grad():
        made.bank[0b101, 1] += 1.0
    changed = (made(BATCH).logits != before).any(1)
    assert changed.tolist() == (BATCH.pattern == 0b101).tolist()
    assert bool(changed.any())


def test_what_it_cannot_do_is_refused() -> None:
    for top_k in (0, NUM_EXPERTS):
        with pytest.raises(ValueError, match=rf"baseline\.flex_moe\.top_k={top_k} must be from 1 to 15"):
            FlexMoEConfig(top_k=top_k)
    many = [Modality(name=f"m{place}", kind="vectors", width=2) for place in range(13)]
    with pytest.raises(ValueError, match="13 modalities; choose at most 12"):
        FlexMoE(replace(inputs_of(BATCH), modalities=many), FlexMoEConfig())
