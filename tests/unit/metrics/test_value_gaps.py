"""Gaps of errors between levels: their values, and intervals that allow for the choice of the pair."""

import numpy as np
import torch

from mmnar_lightning.metrics.value_gaps import MIN_LEVEL, largest_value_gaps


def test_the_pair_is_that_of_the_largest_difference_and_unknown_levels_are_left_out() -> None:
    level = torch.arange(4).repeat_interleave(30)
    error = torch.tensor([1.0, -3.0, 2.0, 50.0]).repeat_interleave(30) + torch.linspace(-0.1, 0.1, 30).repeat(4)
    found = largest_value_gaps(error, torch.arange(120), level, compared=[0, 1, 2], num_replicates=100)
    size, shift = found["mae"], found["mean_error"]
    assert (size.higher, size.lower, round(size.difference.value, 6)) == (1, 0, 2.0)
    assert (shift.higher, shift.lower, round(shift.difference.value, 6)) == (2, 1, 5.0)
    assert size.num_levels == 3


def test_a_level_of_few_subjects_is_not_compared() -> None:
    level = torch.tensor([0] * 40 + [1] * 40)
    subject = torch.cat([torch.arange(40), 40 + torch.arange(40) % (MIN_LEVEL - 1)])
    assert largest_value_gaps(torch.randn(80), subject, level, compared=[0, 1], num_replicates=50) == {}


def test_levels_that_do_not_differ_seldom_show_a_gap() -> None:
    generator, shown, times = np.random.default_rng(0), {"mae": 0, "mean_error": 0}, 200
    for _ in range(times):
        subject = np.repeat(np.arange(120), 2)
        error = generator.normal(size=120)[subject] + generator.normal(size=240)
        level = torch.from_numpy(subject % 4)
        columns = (torch.from_numpy(error), torch.from_numpy(subject), level)
        found = largest_value_gaps(*columns, compared=range(4), num_replicates=200)
        for name, gap in found.items():
            shown[name] += gap.difference.low > 0
    assert all(0.0 < count / times < 0.1 for count in shown.values()), shown
