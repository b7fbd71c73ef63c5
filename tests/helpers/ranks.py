"""Runs a function in several processes, and ends them all whatever happens."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from torch.multiprocessing.spawn import start_processes

from tests.helpers import forked


def run_ranks(run_rank: Callable[[int, Path], None], folder: Path, world_size: int) -> None:
    """Call `run_rank(rank, folder)` in `world_size` processes; the test fails when they take longer than PATIENCE."""
    method = forked.CONTEXT.get_start_method()
    context = start_processes(run_rank, args=(folder,), nprocs=world_size, join=False, start_method=method)
    assert context is not None
    try:
        deadline = time.monotonic() + forked.PATIENCE
        while not context.join(timeout=max(0.0, deadline - time.monotonic()), grace_period=5):
            if time.monotonic() > deadline:
                pytest.fail(f"the {world_size} ranks did not end within {forked.PATIENCE} s")
    finally:
        for process in context.processes:
            process.kill()
