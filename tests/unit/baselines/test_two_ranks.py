"""The terms of baselines on two ranks: their denominators are those of all rows."""

from dataclasses import replace

import pytest
import torch

from tests.helpers.batches import fill_absent
from tests.helpers.ranks import run_ranks
from tests.helpers.two_ranks_baselines import NETWORKS, WORLD_SIZE, data, gradients, run_rank


@pytest.mark.parametrize("name", NETWORKS)
def test_every_parameter_has_a_finite_gradient_whatever_a_rank_reads(name: str) -> None:
    rows = fill_absent(data(), torch.nan)
    nothing = replace(rows, present=torch.zeros_like(rows.present))
    for batch in (rows, fill_absent(nothing, torch.nan), rows.select(torch.zeros(len(rows), dtype=torch.bool))):
        terms, gradient = gradients(name, batch)
        assert all(bool(term.isfinite()) for term in terms.values())
        assert all(bool(value.isfinite().all()) for value in gradient.values())


@pytest.mark.slow
def test_two_ranks_with_uneven_rows_equal_one_process_in_value_and_gradient(tmp_path) -> None:
    run_ranks(run_rank, tmp_path, WORLD_SIZE)
    ranks = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(WORLD_SIZE)]
    for name in NETWORKS:
        terms, gradient = gradients(name, data())
        for key, term in terms.items():
            mean = torch.stack([rank[name]["terms"][key] for rank in ranks]).mean()
            torch.testing.assert_close(mean, term, msg=f"{name}: {key}")
        for rank in ranks:
            for key, value in gradient.items():
                torch.testing.assert_close(
                    rank[name]["gradient"][key], value, atol=1e-5, rtol=1e-4, msg=f"{name}: {key}"
                )
