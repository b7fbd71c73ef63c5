"""Training steps and embedding on a GPU, beside bare loops; without CUDA it says so and measures nothing.

The cohort has random values in the widths of experiment mimic_structured; cohort, loader, model, Trainer and callbacks
are those of a real run without W&B. All times are between synchronisations of the device.
"""

import argparse
import json
import logging
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from lightning import Callback
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import embed, images, loader
from data_modules.batch import Batch
from data_modules.datamodule import CohortDataModule
from mmnar_lightning.config import compose
from mmnar_lightning.encoders.image.backbone import image_backbone, image_input
from mmnar_lightning.encoders.image.config import ImageConfig
from mmnar_lightning.encoders.image.frozen import FrozenImages
from mmnar_lightning.encoders.image.keys import JPEG
from mmnar_lightning.encoders.image.selection import read_images
from mmnar_lightning.encoders.text.config import TextConfig
from mmnar_lightning.encoders.text.frozen import FrozenText, load_backbone
from mmnar_lightning.module import MMNARModule
from mmnar_lightning.nn.backbone import autocast_bf16
from mmnar_lightning.nn.images import ImageBackbone
from mmnar_lightning.runs import build
from mmnar_lightning.runs.fit import compiled_losses
from mmnar_lightning.runs.run import Run
from mmnar_lightning.runs.trainer import build_pattern_metrics, build_trainer

STEPS = {
    "mapped files, copied in the step": ["loader.device=host"],
    "pinned and ahead (loader.device=host)": ["loader.device=host"],
    "arrays on the device (loader.device=device)": ["loader.device=device"],
    "+ trainer.compile=reduce-overhead": ["loader.device=device", "trainer.compile=reduce-overhead"],
    "+ trainer.precision=bf16-mixed": [
        "loader.device=device", "trainer.compile=reduce-overhead", "trainer.precision=bf16-mixed",
    ],
}  # fmt: skip
"""Name -> words; each line but the second adds one thing to the one before it."""
MAPPED = next(iter(STEPS))
BERT: dict[str, Any] = {
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
}
"""The shape of a BERT-base; its weights are random."""
WINDOW = 512


@dataclass(frozen=True)
class Measured:
    """A training: steps a second after the first epoch, largest memory in bytes, seconds until that epoch ended."""

    rate: float
    memory: int
    first: float


class Rate(Callback):
    """Measures the training steps of all epochs but the first, and counts the waits for the device within them."""

    def __init__(self) -> None:
        self.steps, self.seconds, self.first = 0, 0.0, 0.0
        self._begun = self._started = 0.0

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """The first epoch compiles and warms up."""
        self._started = time.perf_counter()

    def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        """Begin."""
        torch.cuda.synchronize()
        self._begun = time.perf_counter()

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """End with the last batch: validation and checkpoints come after it."""
        if not trainer.is_last_batch:
            return
        torch.cuda.synchronize()
        if trainer.current_epoch:
            self.seconds += time.perf_counter() - self._begun
            self.steps += batch_idx + 1
        else:
            self.first = time.perf_counter() - self._started


def settings_of(folder: Path, epochs: int, words: Sequence[str]) -> Any:
    """The settings of a training on the made-up cohort."""
    return compose.load(
        [
            "dataset=custom",
            f"paths.cohort={folder / 'given'}",
            f"paths.data={folder / 'data'}",
            f"trainer.max_epochs={epochs + 1}",
            "trainer.progress_bar=false",
            "rectifier.start_epoch=1",
            "wandb.enabled=false",
            *words,
        ]
    )


def opened(settings: Any) -> CohortDataModule:
    """Its datamodule."""
    datamodule = build.build_datamodule(settings)
    datamodule.prepare_data()
    datamodule.setup()
    return datamodule


def trained(settings: Any, folder: Path, *, mapped: bool = False) -> Measured:
    """Train as `mmnar train` does, with a clock."""
    datamodule = opened(settings)
    module = build.build_module(settings, datamodule.cohort, initialised=False)
    run = Run(settings, datamodule, folder)
    trainer: Any = build_trainer(run, build_pattern_metrics(run), part=0)
    rate = Rate()
    trainer.callbacks.append(rate)
    module.compiled = compiled_losses(run, trainer, module)
    if mapped:
        datamodule._placed = trainer.strategy.root_device, datamodule.cohort.arrays
    torch.cuda.reset_peak_memory_stats()
    trainer.fit(module, datamodule=datamodule)
    return Measured(rate.steps / rate.seconds, torch.cuda.max_memory_allocated(), rate.first)


def device_batches(datamodule: CohortDataModule, count: int) -> list[Batch]:
    """Batches of training on the device."""
    served = iter(datamodule.train_dataloader())
    return [next(served).to("cuda") for _ in range(count)]


def bare_loop(module: MMNARModule, batches: list[Batch], num_steps: int) -> float:
    """Steps a second of a plain PyTorch loop over batches on the device, after one to warm up."""
    work = partial(loader.bare_loop, module, batches, num_steps)
    work()
    return num_steps / timed(work)


def step_facts(module: MMNARModule, batch: Batch) -> dict[str, float]:
    """Kernels, floating-point operations and waits for the device of forward, losses and backward of one batch."""
    from torch.profiler import ProfilerActivity, profile

    module.train()

    def step() -> None:
        module.objective(module.objective.terms(module(batch), batch)).backward()

    step()
    with FlopCounterMode(display=False) as counter:
        step()
    torch.cuda.synchronize()
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as recorded:
        step()
        torch.cuda.synchronize()
    kernels = sum(event.count for event in recorded.key_averages() if event.key == "cudaLaunchKernel")
    with warnings.catch_warnings(record=True) as waits, synchronisations():
        warnings.simplefilter("always")
        step()
    return {
        "kernels": kernels,
        "flops": counter.get_total_flops(),
        "waits": sum("synchroniz" in str(wait.message) for wait in waits),
    }


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


def measure_steps(folder: Path, rows: int, epochs: int, sizes: Sequence[int]) -> list[dict[str, Any]]:
    """Train with each of `STEPS` and each batch size; print a table."""
    (folder / "given").mkdir()
    loader.write_cohort(folder / "given", rows)
    peak = ceilings()
    copies, products = (
        f"{peak['copy']:,.0f} GB/s",
        ", ".join(f"{name} {peak[name]:,.0f}" for name in ("float32", "TF32", "bf16")),
    )
    print(f"{torch.cuda.get_device_name()}: copy {copies}; products in TFLOP/s: {products}")
    table: list[dict[str, Any]] = []
    for size in sizes:
        usual = settings_of(folder, epochs, [f"loader.batch_size={size}"])
        datamodule = opened(usual)
        module = build.build_module(usual, datamodule.cohort, initialised=False).to("cuda")
        batches = device_batches(datamodule, 8)
        facts = step_facts(module, batches[0])
        bare = bare_loop(module, batches, 60)
        print(
            f"\nbatches of {size}: {facts['kernels']:.0f} kernels, {facts['flops'] / 1e9:.2f} GFLOP and "
            f"{facts['waits']:.0f} waits for the device in forward, losses and backward"
        )
        print(
            f"{'':46}{'steps/s':>10}{'rows/s':>12}{'/ bare loop':>12}{'of float32':>11}{'memory':>10}{'1st epoch':>10}"
        )
        _row("bare loop, batches on the device", bare, size, bare, facts, peak, None)
        for name, words in STEPS.items():
            own = settings_of(folder, epochs, [f"loader.batch_size={size}", *words])
            found = trained(own, folder / f"run-{size}-{len(table)}", mapped=name == MAPPED)
            _row(name, found.rate, size, bare, facts, peak, found)
            table.append({"batch": size, "name": name, "bare": bare, **facts, **vars(found)})
            torch._dynamo.reset()
    return table


def _row(
    name: str,
    rate: float,
    size: int,
    bare: float,
    facts: dict[str, float],
    peak: dict[str, float],
    found: Measured | None,
) -> None:
    share = 100 * rate * facts["flops"] / (peak["float32"] * 1e12)
    rest = "" if found is None else f"{found.memory / 1e6:>7,.0f} MB{found.first:>8.1f} s"
    print(f"{name:<46}{rate:>10,.1f}{rate * size:>12,.0f}{rate / bare:>12.2f}{share:>10.1f}%{rest}", flush=True)


def measure_text(folder: Path, documents: int) -> list[dict[str, Any]]:
    """Windows a second of the embed stage with a BERT-base, beside a bare loop; print a table."""
    for part in ("model", "note", "tokens"):
        (folder / part).mkdir(parents=True)
    embed.write_model(folder / "model", WINDOW, BERT)
    embed.write_documents(folder / "note", documents)
    usual = TextConfig(encoder="transformers", model=str(folder / "model"), window=WINDOW, batch_windows=64)
    batches = embed.ideal_batches(folder / "note", folder / "model", usual, folder / "tokens")
    ready = [(tokens.to("cuda"), length.to("cuda")) for tokens, length in batches]
    count, few = sum(len(length) for _, length in batches), ready[: len(ready) // 8]
    table = []
    for name, bf16 in (("TF32", False), ("bf16", True)):
        config = replace(usual, bf16=bf16)
        backbone = load_backbone(folder / "model", config).to("cuda").eval()
        torch.set_float32_matmul_precision("high")
        embed.bare_loop(backbone, ready[:4])
        bare = timed(partial(embed.bare_loop, backbone, ready))
        torch.set_float32_matmul_precision("highest")
        plain = None if bf16 else timed(partial(embed.bare_loop, backbone, few))
        encoder = FrozenText(config, folder / f"store-{name}", torch.device("cuda"))
        stage = timed(partial(encoder.prepare, folder / "note"))
        print(f"BERT-base, {name}: bare loop {count / bare:,.0f} windows/s")
        print(f"  stage, with tokens and model: {count / stage:,.0f}, {bare / stage:.2f} of it", flush=True)
        if plain is not None:
            longest = sum(len(length) for _, length in few)
            print(f"BERT-base, float32: bare loop over the longest {longest / plain:,.0f} windows/s", flush=True)
        table.append({"name": name, "windows": count, "bare": bare, "stage": stage, "float32": plain})
    return table


def contiguous_loop(backbone: ImageBackbone, batches: Sequence[torch.Tensor]) -> None:
    """The network over batches in memory, with the channels first."""
    with torch.no_grad():
        for batch in batches:
            pixels = (batch.to("cuda").float() / 255 - backbone.mean) / backbone.std
            with autocast_bf16(pixels.device, backbone.bf16):
                backbone.network(pixels).float().cpu()


def measure_images(folder: Path, count: int, workers: int) -> list[dict[str, Any]]:
    """Images a second of the embed stage with a DenseNet-121, beside a bare loop; print a table."""
    listed = images.write_images(folder / "images", count, 256)
    source = folder / "cohorts" / "made" / "modalities" / "cxr"
    source.mkdir(parents=True)
    listed.write_parquet(source / "images.parquet")
    weights = str(images.write_weights(folder / "weights.safetensors", "densenet121"))
    usual = ImageConfig(encoder="timm", model="densenet121", weights=weights, batch_size=128, num_workers=workers)
    paths = [folder / "images" / f"{file}.jpg" for file in listed["file"]]
    shown: Any = list(read_images(paths, image_input(usual), workers))
    batches = list(torch.split(torch.from_numpy(np.stack(shown)), usual.batch_size))
    decoding = timed(lambda: list(read_images(paths, image_input(usual), workers)))
    table = []
    for name, bf16 in (("TF32", False), ("bf16", True)):
        config = replace(usual, bf16=bf16)
        encoder = FrozenImages(config, folder / f"data-{name}", folder / "images", JPEG, torch.device("cuda"))
        torch.set_float32_matmul_precision("high")
        images.bare_loop(encoder.backbone, batches[:2], torch.device("cuda"))
        bare = timed(partial(images.bare_loop, encoder.backbone, batches, torch.device("cuda")))
        plain = image_backbone(config).to("cuda")
        contiguous_loop(plain, batches[:2])
        contiguous = timed(partial(contiguous_loop, plain, batches))
        torch.set_float32_matmul_precision("highest")
        stage = timed(partial(encoder.prepare, source))
        rates = [count / seconds for seconds in (bare, contiguous, stage, decoding)]
        print(f"DenseNet-121, {name}: bare loop {rates[0]:,.0f} images/s, with channels first {rates[1]:,.0f}")
        print(
            f"  stage {rates[2]:,.0f} ({100 * bare / stage:.0f} %); decoding alone, {workers} threads {rates[3]:,.0f}",
            flush=True,
        )
        table.append({"name": name, "bare": bare, "contiguous": contiguous, "stage": stage, "decoding": decoding})
    return table


def main(words: Sequence[str] | None = None) -> int:
    """Measure in a temporary folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=40_000, help="rows of the cohort")
    parser.add_argument("--epochs", type=int, default=2, help="epochs that count, after one to warm up")
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
            "steps": partial(measure_steps, folder, given.rows, given.epochs, given.batch_sizes),
            "text": partial(measure_text, folder / "text", given.documents),
            "images": partial(measure_images, folder / "pictures", given.images, given.workers),
        }
        for name, measure in parts.items():
            found[name] = measure()
            if given.out:
                given.out.write_text(json.dumps(found, indent=2), encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
