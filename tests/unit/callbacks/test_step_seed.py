from types import SimpleNamespace
from typing import cast

import pytest
import torch
from lightning import Trainer

from mmnar_lightning.callbacks.step_seed import StepSeed


def draws(seed: int, step: int, rank: int = 0) -> list[float]:
    """What a training step draws, whatever was drawn before it."""
    torch.rand(1 + (seed + step) % 7)
    trainer = SimpleNamespace(fit_loop=SimpleNamespace(total_batch_idx=step), global_rank=rank)
    StepSeed(seed).on_train_batch_start(cast(Trainer, trainer), None, None, 0)
    return torch.rand(4).tolist()


@pytest.fixture(autouse=True)
def keep_the_generator():
    with torch.random.fork_rng():
        yield


def test_the_same_seed_step_and_rank_draw_the_same_numbers():
    assert draws(3, 17, 1) == draws(3, 17, 1)


def test_every_step_and_rank_draws_numbers_of_its_own():
    drawn = [tuple(draws(3, step, rank)) for step in (0, 1, 2, 4095, 4096, 100_000) for rank in (0, 1, 7)]
    assert len(set(drawn)) == len(drawn)


@pytest.mark.parametrize("other", [1, 4, 2**18, 2**31])
def test_another_seed_draws_other_numbers(other):
    assert draws(other, 17) != draws(0, 17)


def test_the_draws_of_a_long_training_do_not_come_again():
    assert draws(0, 2**20) != draws(0, 0)


def test_the_callback_keeps_no_state():
    assert StepSeed(3).state_dict() == {}
