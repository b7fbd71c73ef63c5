"""Runs a function in several processes, and ends them all whatever happens."""

from collections.abc import Callable
from pathlib import Path

import pytest
from torch.multiprocessing.spawn import spawn

SECONDS = 60


def run_ranks(run_rank: Callable[[int, Path], None], folder: Path, world_size: int) -> None:
    """Call `run_rank(rank, folder)` in `world_size` processes; the test fails when they take longer than SECONDS."""
    context = spawn(run_rank, args=(folder,), nprocs=world_size, join=False)
    assert context is not None
    try:
        joined = False
        while not joined:
            joined = context.join(timeout=SECONDS, grace_period=5)
            assert joined or any(process.is_alive() for process in context.processes)
            if not joined and all(process.is_alive() for process in context.processes):
                pytest.fail(f"the {world_size} ranks did not end within {SECONDS} s")
    finally:
        for process in context.processes:
            process.kill()
