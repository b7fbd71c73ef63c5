"""Images a second: the embed stage beside a bare loop over the same network, in one run.

    python -m benchmarks.images --images 512

The stage reads, decodes, resizes, encodes and stores. The bare loop has all pixels in memory as batches of the best
size and does nothing but encode. A line shows what decoding alone costs, and how fast published embeddings are read.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import polars as pl
import timm
import torch
from safetensors.torch import save_file

from data_modules.databases.mimic_iv.tfrecord import encode
from data_modules.simulate import image
from mmnar_lightning.encoders.image.backbone import image_backbone, image_input
from mmnar_lightning.encoders.image.config import ImageConfig
from mmnar_lightning.encoders.image.frozen import FrozenImages
from mmnar_lightning.encoders.image.keys import JPEG
from mmnar_lightning.encoders.image.selection import read_images
from mmnar_lightning.encoders.image.vectors import RELEASE_WIDTH, read_release
from mmnar_lightning.encoders.stage import device_of
from mmnar_lightning.nn.images import ImageBackbone

MIN_SHARE = 90.0
"""Per cent of the bare loop's images a second that the stage must reach."""


def write_images(folder: Path, count: int, side: int) -> pl.DataFrame:
    """JPEG files of simulated images, enlarged to a side, and their index."""
    from PIL import Image

    generator = np.random.default_rng(0)
    names = [f"files/p10/{position}" for position in range(count)]
    (folder / "files/p10").mkdir(parents=True)
    for name in names:
        pixels = image.draw_image(generator.standard_normal(2), generator)
        picture = Image.fromarray(pixels).resize((side, side), Image.Resampling.BICUBIC)
        picture.save(folder / f"{name}.jpg", quality=85)
    return pl.DataFrame(
        {"row_id": np.arange(count), "dicom_id": names, "view": "AP", "hours": -1.0, "file": names},
        schema_overrides={"row_id": pl.UInt32},
    )


def write_weights(path: Path, model: str) -> Path:
    """Random weights of a model: what they say does not matter here, and nothing is fetched."""
    save_file({name: value.contiguous() for name, value in timm.create_model(model).state_dict().items()}, path)
    return path


def bare_loop(backbone: ImageBackbone, batches: list[torch.Tensor], device: torch.device) -> None:
    """The network over batches in memory."""
    with torch.no_grad():
        for batch in batches:
            backbone({"pixels": batch.to(device)}).cpu()


def measure(folder: Path, arguments: Any) -> bool:
    """Stage and bare loop in turns; print medians, and whether the stage is quick enough."""
    device = device_of(arguments.accelerator)
    images = write_images(folder / "images", arguments.images, arguments.side)
    source = folder / "cohorts" / "made" / "modalities" / "cxr"
    source.mkdir(parents=True)
    images.write_parquet(source / "images.parquet")
    config = ImageConfig(
        encoder="timm",
        model=arguments.model,
        weights=str(write_weights(folder / "weights.safetensors", arguments.model)),
        batch_size=arguments.batch_size,
        num_workers=arguments.workers,
        bf16=arguments.bf16,
    )
    paths = [folder / "images" / f"{file}.jpg" for file in images["file"]]
    pixels = torch.from_numpy(np.stack(list(read_images(paths, image_input(config), arguments.workers))))
    batches = list(torch.split(pixels, arguments.batch_size))
    backbone = image_backbone(config).to(device)
    bare_loop(backbone, batches[:2], device)  # the first use of a device or a kernel is slower
    stage, bare, decoding, whole = [], [], [], []
    for repeat in range(arguments.repeats):
        encoder = FrozenImages(config, folder / f"data-{repeat}", folder / "images", JPEG, device)
        stage.append(_timed(partial(encoder.prepare, source)))
        bare.append(_timed(lambda: bare_loop(backbone, batches, device)))
        decoding.append(_timed(lambda: list(read_images(paths, image_input(config), arguments.workers))))
        whole.append(_timed(lambda: _read_whole(paths, config)))
    count = arguments.images
    print(
        f"{count} images of {arguments.side} x {arguments.side}, {arguments.model}, {device}, "
        f"{torch.get_num_threads()} threads of PyTorch, {arguments.workers} of decoding; medians (least to most)"
    )
    _line("embed stage", [count / seconds for seconds in stage], "images/s")
    _line("bare loop, batches in memory", [count / seconds for seconds in bare], "images/s")
    _line("decoding alone", [count / seconds for seconds in decoding], "images/s")
    _line("the same, no JPEG scaled in it", [count / seconds for seconds in whole], "images/s")
    shares = [100 * one / other for one, other in zip(bare, stage, strict=True)]
    met = median(shares) >= MIN_SHARE
    _line("stage / bare loop", shares, f"%   target >= {MIN_SHARE:g}   {'met' if met else 'MISSED'}")
    return met


def _read_whole(paths: list[Path], config: ImageConfig) -> None:
    needed = image_input(config)
    list(read_images(paths, replace(needed, side=10**6), config.num_workers))


def measure_release(folder: Path, count: int) -> None:
    """Published embeddings, checked and verified, a second."""
    generator = np.random.default_rng(0)
    folder.mkdir()
    paths = [folder / f"{position}.tfrecord" for position in range(count)]
    for path in paths:
        path.write_bytes(encode(generator.standard_normal(RELEASE_WIDTH).astype(np.float32), path.stem))
    for workers in (0, 4):
        seconds = [_timed(partial(read_release, paths, workers)) for _ in range(3)]
        _line(f"published embeddings, {workers} threads", [count / second for second in seconds], "files/s")


def _timed(work: Callable[[], Any]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _line(what: str, values: list[float], unit: str) -> None:
    print(f"{what:<40}{median(values):12,.1f} ({min(values):,.1f} to {max(values):,.1f}) {unit}")


def main(words: Sequence[str] | None = None) -> int:
    """Measure in a temporary folder; returns 1 where the stage is too slow."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=256)
    parser.add_argument("--side", type=int, default=512, help="pixels of a image's side")
    parser.add_argument("--model", default="resnet18", help="of timm")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--workers", type=int, default=4, help="threads that decode")
    parser.add_argument("--repeats", type=int, default=3, help="runs of each, in turns")
    parser.add_argument("--accelerator", default="cpu", choices=["auto", "cpu", "gpu"])
    parser.add_argument("--bf16", action="store_true")
    parser.add_argument("--threads", type=int, help="of PyTorch")
    parser.add_argument("--embeddings", type=int, default=5000, help="published embeddings to read")
    arguments = parser.parse_args(words)
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    with tempfile.TemporaryDirectory(prefix="mmnar-bench-") as scratch:
        met = measure(Path(scratch), arguments)
        measure_release(Path(scratch) / "release", arguments.embeddings)
    return 0 if met else 1


if __name__ == "__main__":
    raise SystemExit(main())
