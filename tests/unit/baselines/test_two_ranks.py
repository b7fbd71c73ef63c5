"""The terms of baselines on two ranks: their denominators are those of all rows."""

import pytest
import torch

from tests.helpers.ranks import run_ranks
from tests.helpers.two_ranks_baselines import NETWORKS, WORLD_SIZE, data, gradients, run_rank


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
