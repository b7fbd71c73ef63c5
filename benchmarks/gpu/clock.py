"""Times and waits of a GPU, and what the card does at most."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from statistics import median
from typing import Any

import torch


@contextmanager
def synchronisations() -> Iterator[None]:
    """Warn at every operation that waits for the device."""
    torch.cuda.set_sync_debug_mode("warn")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


def timed(work: Callable[[], Any]) -> float:
    """Seconds of some work, the device included."""
    torch.cuda.synchronize()
    started = time.perf_counter()
    work()
    torch.cuda.synchronize()
    return time.perf_counter() - started


def ceilings() -> dict[str, float]:
    """What the card does here: GB/s of a copy (read and written), TFLOP/s of products in float32, TF32 and bf16."""
    found = {}
    source = torch.randn(2**28, device="cuda")
    target = torch.empty_like(source)
    target.copy_(source)
    found["copy"] = 8 * source.numel() / median(timed(lambda: target.copy_(source)) for _ in range(5)) / 1e9
    for name, kind, precision in (
        ("float32", torch.float32, "highest"),
        ("TF32", torch.float32, "high"),
        ("bf16", torch.bfloat16, "highest"),
    ):
        torch.set_float32_matmul_precision(precision)
        left, right = (torch.randn(8192, 8192, device="cuda", dtype=kind) for _ in range(2))
        _ = left @ right
        seconds = median(timed(partial(torch.mm, left, right)) for _ in range(5))
        found[name] = 2 * 8192**3 / seconds / 1e12
    torch.set_float32_matmul_precision("highest")
    return found
