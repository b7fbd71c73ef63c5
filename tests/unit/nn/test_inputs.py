import math

import numpy as np
import pytest
import torch

from data_modules.loading.arrays import EDGE_SUBJECTS, quantile_edges
from mmnar_lightning.nn.inputs import OUTSIDE, PiecewiseLinear


def by_hand(value: float, edges: list[float]) -> list[float]:
    """Equation 1 of Gorishniy, Rubachev and Babenko (2022), bin by bin; the outer bins extend by their own width."""
    bins = len(edges) - 1
    encoded = []
    for t in range(1, bins + 1):
        low, high = edges[t - 1], edges[t]
        if math.isnan(value) or (value < low and t > 1):
            encoded.append(0.0)
        elif value >= high and t < bins:
            encoded.append(1.0)
        else:
            encoded.append(min(max((value - low) / (high - low), -OUTSIDE), 1 + OUTSIDE))
    return encoded


@pytest.mark.parametrize("seed", range(3))
def test_it_is_equation_one_column_by_column(seed: int):
    generator = np.random.default_rng(seed)
    edges = [np.sort(generator.normal(size=count)).astype(np.float32) for count in (5, 2, 9)]
    values = generator.normal(scale=2.0, size=(50, 3)).astype(np.float32)
    values[generator.random(values.shape) < 0.2] = np.nan
    encode = PiecewiseLinear([torch.from_numpy(own) for own in edges], torch.tensor([True, False, True]))
    found = encode(torch.from_numpy(values)).numpy()
    for row, encoded in zip(values.tolist(), found, strict=True):
        expected = [
            entry for value, column in zip(row, edges, strict=True) for entry in by_hand(value, column.tolist())
        ]
        flags = [float(math.isnan(row[0])), float(math.isnan(row[2]))]
        np.testing.assert_allclose(encoded, expected + flags, atol=1e-4)
    assert encode.width == 4 + 1 + 8 + 2


def test_a_column_that_never_varies_has_no_bin_and_nothing_is_trained():
    encode = PiecewiseLinear([torch.tensor([3.0]), torch.zeros(0)], torch.tensor([False, True]))
    assert encode(torch.tensor([[3.0, torch.nan], [9.0, 1.0]])).tolist() == [[1.0], [0.0]]
    assert not list(encode.parameters())


def test_edges_are_values_of_the_given_rows_and_hold_equal_shares():
    generator = np.random.default_rng(0)
    values = generator.exponential(size=(400, 2)).astype(np.float32)
    values[:200, 1] = np.nan
    rows = np.arange(0, 400, 2)
    (first, second), missing = quantile_edges(values, rows, rows, 4)
    assert missing.tolist() == [False, True]
    for edges, seen in ((first, values[rows, 0]), (second, values[rows[rows >= 200], 1])):
        assert set(edges.tolist()) <= set(seen.tolist())
        assert (edges[0], edges[-1]) == (np.sort(seen)[EDGE_SUBJECTS - 1], np.sort(seen)[-EDGE_SUBJECTS])
        inner, _ = np.histogram(seen, [-np.inf, *edges[1:-1].numpy(), np.inf])
        assert inner.max() - inner.min() <= 2


def test_every_edge_has_enough_subjects_on_either_side_however_many_rows_each_has():
    generator = np.random.default_rng(1)
    subject = generator.integers(60, size=600)
    values = (generator.normal(size=(600, 1)) + 3 * generator.normal(size=60)[subject, None]).astype(np.float32)
    values[subject == 7] -= 100  # many rows of one subject, beyond those of all others
    (edges,), _ = quantile_edges(values, np.arange(600), subject, 8)
    assert len(edges) >= 5
    for edge in edges.numpy():
        for side in (values[:, 0] <= edge, values[:, 0] >= edge):
            assert len(np.unique(subject[side])) >= EDGE_SUBJECTS


@pytest.mark.parametrize("count", [0, 5, 9, 12, 40])
def test_a_column_that_few_subjects_have_has_no_edges(count: int):
    values = np.arange(50, dtype=np.float32)[:, None]
    values[count:] = np.nan
    (edges,), _ = quantile_edges(values, np.arange(50), np.arange(50), 4)
    assert (len(edges) > 0) == (count == 40)


def test_straight_columns_are_cut_and_standardised_and_the_train_mean_if_not_measured():
    edges = [torch.tensor([100.0, 200.0, 400.0]), torch.zeros(0), torch.tensor([0.0, 1.0])]
    mean, scale = torch.tensor([250.0, 7.0, 0.5]), torch.tensor([100.0, 3.0, 0.25])
    encode = PiecewiseLinear(edges, torch.tensor([True, True, False]), mean, scale)
    values = torch.tensor([[350.0, 1.0, 0.5], [1e6, 1.0, 0.75], [torch.nan, torch.nan, -9.0]])
    assert encode.straight(values).tolist() == [[1.0, 0.0], [3.5, 1.0], [0.0, -6.0]]  # one width beyond the outer edges


def test_a_stored_encoding_is_restored_and_one_stored_before_it_had_a_scale_reads_as_it_did():
    edges = [torch.tensor([100.0, 200.0, 400.0]), torch.zeros(0)]
    missing = torch.tensor([True, False])
    values = torch.tensor([[350.0, 1.0], [torch.nan, 2.0]])
    encode = PiecewiseLinear(edges, missing, torch.tensor([250.0, 1.0]), torch.tensor([100.0, 1.0]))
    state = encode.state_dict()
    restored = PiecewiseLinear.restored(state, 2)
    restored.load_state_dict(state)
    assert torch.equal(restored.straight(values), encode.straight(values))
    older = {name: value for name, value in state.items() if name not in {"mean", "scale"}}
    before = PiecewiseLinear.restored(older, 2)
    before.load_state_dict(older)
    assert before.straight(values).tolist() == [[350.0], [0.0]]
    assert before.state_dict().keys() == older.keys()
