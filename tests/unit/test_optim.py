import itertools
import math

import pytest
import torch

from mmnar_lightning.optim import OptimConfig, build_optimizer, rate_factor, restore_settings

NUM_STEPS = 200


def rates(config: OptimConfig, num_steps: int = NUM_STEPS) -> list[float]:
    """The learning rate of every step, from the optimiser itself."""
    optimizer, schedule = build_optimizer([torch.nn.Parameter(torch.zeros(1))], num_steps, config)
    seen = []
    for _ in range(num_steps):
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return seen


def test_the_rate_rises_in_a_straight_line_to_the_peak_and_falls_from_there():
    seen = rates(OptimConfig(lr=0.01))
    assert seen[:10] == pytest.approx([0.01 * (step + 1) / 10 for step in range(10)])
    assert max(seen) == pytest.approx(0.01)
    assert all(later <= earlier for earlier, later in itertools.pairwise(seen[10:]))


def test_the_fall_is_a_cosine_to_the_final_share():
    for step in (10, 50, 100, 150, 200):
        expected = 0.05 + 0.95 * (1 + math.cos(math.pi * (step - 10) / (NUM_STEPS - 10))) / 2
        assert rate_factor(step, NUM_STEPS) == pytest.approx(expected)
    assert rate_factor(NUM_STEPS, NUM_STEPS) == pytest.approx(0.05)
    assert rate_factor(10 * NUM_STEPS, NUM_STEPS) == pytest.approx(0.05)


@pytest.mark.parametrize("num_steps", [1, 2, 3])
def test_the_shortest_training_has_a_rate_above_zero_at_every_step(num_steps):
    assert min(rates(OptimConfig(), num_steps)) > 0


def test_the_optimiser_is_adamw_with_the_decay_that_was_asked_for():
    optimizer, _ = build_optimizer([torch.nn.Parameter(torch.zeros(1))], 10, OptimConfig(weight_decay=0.3))
    assert isinstance(optimizer, torch.optim.AdamW)
    assert optimizer.param_groups[0]["weight_decay"] == 0.3


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("lr", 0.0),
        ("lr", float("nan")),
        ("lr", float("inf")),
        ("weight_decay", -1.0),
    ],
)
def test_a_setting_that_cannot_train_is_refused_by_its_full_key(key, value):
    with pytest.raises(ValueError, match=rf"optim\.{key}={value} must be"):
        OptimConfig(**{key: value})


def test_without_the_fused_step_pytorch_may_still_step_all_weights_at_once():
    optimizer, _ = build_optimizer([torch.nn.Parameter(torch.zeros(1))], 1, OptimConfig(), fused=False)
    chosen = optimizer.param_groups[0]
    assert (chosen["fused"], chosen["foreach"]) == (None, None), "False would step one weight after the other"


def test_a_resumed_optimiser_steps_as_the_settings_say_not_as_its_checkpoint_did():
    weights = [torch.nn.Parameter(torch.zeros(1))]
    (optimizer, schedule), (before, _) = (build_optimizer(weights, 1, OptimConfig(), fused=False) for _ in range(2))
    before.param_groups[0] |= {"fused": False, "weight_decay": 0.5, "lr": 1.0}
    optimizer.load_state_dict(before.state_dict())
    assert optimizer.param_groups[0]["fused"] is False
    restore_settings(optimizer, schedule, OptimConfig())
    chosen = optimizer.param_groups[0]
    assert (chosen["fused"], chosen["weight_decay"], chosen["lr"] < 1) == (None, OptimConfig().weight_decay, True)


def test_the_fused_step_gives_the_weights_of_the_plain_one_and_of_the_equations():
    """Loshchilov and Hutter, Decoupled weight decay regularization, ICLR 2019, algorithm 2."""
    config, start = OptimConfig(lr=0.01, weight_decay=0.1), torch.linspace(-1, 1, 600).reshape(20, 30)
    one, other = (torch.nn.Parameter(start.clone()) for _ in range(2))
    fused, plain = (
        build_optimizer([own], NUM_STEPS, config, fused=is_fused) for own, is_fused in ((one, True), (other, False))
    )
    assert fused[0].param_groups[0]["fused"]
    assert not plain[0].param_groups[0]["fused"]
    weight, first, second = start.double(), torch.zeros(20, 30), torch.zeros(20, 30)
    for step in range(12):
        gradient = torch.randn(20, 30, generator=torch.Generator().manual_seed(step))
        rate = config.lr * rate_factor(step, NUM_STEPS)
        first, second = 0.9 * first + 0.1 * gradient, 0.999 * second + 0.001 * gradient**2
        bias = 1 - 0.9 ** (step + 1), 1 - 0.999 ** (step + 1)
        weight = weight * (1 - rate * 0.1) - rate * (first / bias[0]) / ((second / bias[1]).sqrt() + 1e-8)
        for own, (optimizer, schedule) in ((one, fused), (other, plain)):
            own.grad = gradient.clone()
            optimizer.step()
            schedule.step()
    torch.testing.assert_close(one, other, rtol=0, atol=1e-6)
    torch.testing.assert_close(one.double(), weight, rtol=0, atol=1e-5)
