"""Training steps and embedding on a GPU, beside bare loops; without CUDA it says so and measures nothing.

All times are between synchronisations of the device.
"""

import argparse
import json
import logging
import tempfile
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu.embedding import measure_images, measure_text
from benchmarks.gpu.steps import measure_steps

PARTS = ("steps", "text", "images")


def main(words: Sequence[str] | None = None) -> int:
    """Measure in a temporary folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=20_000, help="rows of the cohort")
    parser.add_argument("--epochs", type=int, default=1, help="epochs that count, after one to warm up")
    parser.add_argument("--repeats", type=int, default=2, help="trainings with each place of the batches, in turns")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[128, 1024])
    parser.add_argument("--documents", type=int, default=6000)
    parser.add_argument("--images", type=int, default=1024)
    parser.add_argument("--workers", type=int, default=8, help="threads that decode")
    parser.add_argument("--out", type=Path, help="also write the figures to this JSON file")
    given = parser.parse_args(words)
    if not torch.cuda.is_available():
        print("there is no CUDA device: nothing is measured")
        return 0
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")
    found: dict[str, Any] = {"card": torch.cuda.get_device_name(), "torch": torch.__version__}
    with tempfile.TemporaryDirectory(prefix="mmnar-bench-") as scratch:
        folder = Path(scratch)
        parts: dict[str, Callable[[], Any]] = {
            "steps": partial(measure_steps, folder, given.rows, given.epochs, given.repeats, given.batch_sizes),
            "text": partial(measure_text, folder / "text", given.documents),
            "images": partial(measure_images, folder / "pictures", given.images, given.workers),
        }
        for name in given.parts:
            found[name] = parts[name]()
            if given.out:
                given.out.write_text(json.dumps(found, indent=2), encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
