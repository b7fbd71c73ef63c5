"""Training steps a second on a GPU: where batches are gathered, compiled steps, number formats.

The cohort has random values in the widths of experiment mimic_structured; cohort, loader, model, Trainer and callbacks
are those of a real run without W&B.
"""

import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import torch
from lightning import Callback
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import loader
from benchmarks.gpu.clock import ceilings, synchronisations, timed
from data_modules.batch import Batch
from data_modules.datamodule import CohortDataModule
from data_modules.loading.loaders import TrainLoader
from data_modules.loading.placed import placed
from mmnar_lightning.config import compose
from mmnar_lightning.module import MMNARModule
from mmnar_lightning.runs import build
from mmnar_lightning.runs.fit import compiled_losses
from mmnar_lightning.runs.run import Run
from mmnar_lightning.runs.trainer import build_pattern_metrics, build_trainer

PLACES = {
    "mapped files, copied in the step": ["loader.device=host"],
    "pinned and ahead (loader.device=host)": ["loader.device=host"],
    "arrays on the device (loader.device=device)": ["loader.device=device"],
}
"""Name -> words; trained in turns, because they differ by less than one run from another."""
MAPPED = next(iter(PLACES))
COMPILED = ["loader.device=device", "trainer.compile=reduce-overhead"]
FORMATS = {
    "+ trainer.compile=reduce-overhead": COMPILED,
    "  with trainer.precision=bf16-mixed": [*COMPILED, "trainer.precision=bf16-mixed"],
    "  with trainer.precision=16-mixed": [*COMPILED, "trainer.precision=16-mixed"],
    "  with trainer.precision=bf16-true": [*COMPILED, "trainer.precision=bf16-true"],
}
"""Name -> words; over the arrays on the device, each trained once."""


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


def gathering(settings: Any, *, mapped: bool) -> float:
    """Milliseconds that a batch of training takes to reach the device, without a step."""
    cohort = opened(settings).cohort
    device = torch.device("cuda", 0)
    rows = cohort.arrays if mapped else placed(cohort.arrays, settings.loader.device, device)
    served = TrainLoader(rows, cohort.rows("train"), batch_size=settings.loader.batch_size, seed=0)

    def read() -> None:
        for batch in served:
            batch.to(device)

    read()
    return 1000 * timed(read) / len(served)


def measure_steps(folder: Path, rows: int, epochs: int, repeats: int, sizes: Sequence[int]) -> list[dict[str, Any]]:
    """Train with each of `PLACES` and `FORMATS` and each batch size; print a table.

    Args:
        folder: for the cohort and the runs.
        rows: of the cohort.
        epochs: that count.
        repeats: of each of `PLACES`, in turns.
        sizes: of batches.

    Returns:
        What every line shows.
    """
    (folder / "given").mkdir()
    loader.write_cohort(folder / "given", rows)
    peak = ceilings()
    products = ", ".join(f"{name} {peak[name]:,.0f}" for name in ("float32", "TF32", "bf16"))
    print(f"{torch.cuda.get_device_name()}: copy {peak['copy']:,.0f} GB/s; products in TFLOP/s: {products}")
    return [line for size in sizes for line in _of_size(folder, size, epochs, repeats, peak["float32"])]


def _of_size(folder: Path, size: int, epochs: int, repeats: int, peak: float) -> list[dict[str, Any]]:
    usual = settings_of(folder, epochs, [f"loader.batch_size={size}"])
    datamodule = opened(usual)
    module = build.build_module(usual, datamodule.cohort, initialised=False).to("cuda")
    batches = device_batches(datamodule, 8)
    facts = step_facts(module, batches[0])
    bare = median(bare_loop(module, batches, 60) for _ in range(repeats))
    print(
        f"\nbatches of {size}: {facts['kernels']:.0f} kernels, {facts['flops'] / 1e9:.2f} GFLOP and "
        f"{facts['waits']:.0f} waits for the device in forward, losses and backward"
    )
    head = ("steps/s", "least", "most", "rows/s", "/ bare loop", "of float32")
    print(f"{'':46}" + "".join(f"{name:>12}" for name in head) + f"{'memory':>11}{'1st epoch':>11}", flush=True)
    runs = folder / f"runs-{size}"

    def measured(words: Sequence[str], *, mapped: bool = False) -> Measured:
        number = len(list(runs.iterdir())) if runs.is_dir() else 0
        (runs / f"{number}").mkdir(parents=True)
        own = settings_of(folder, epochs, [f"loader.batch_size={size}", *words])
        found = trained(own, runs / f"{number}", mapped=mapped)
        torch._dynamo.reset()
        return found

    def line(name: str, rates: Sequence[float], found: Measured | None) -> dict[str, Any]:
        rate = median(rates)
        share = 100 * rate * facts["flops"] / (peak * 1e12)
        figures = f"{rate:>12,.1f}{min(rates):>12,.1f}{max(rates):>12,.1f}{rate * size:>12,.0f}{rate / bare:>12.2f}"
        rest = "" if found is None else f"{found.memory / 1e6:>8,.0f} MB{found.first:>9.1f} s"
        print(f"{name:<46}{figures}{share:>11.1f}%{rest}", flush=True)
        own = {} if found is None else {"memory": found.memory, "first": found.first}
        return {"batch": size, "name": name, "bare": bare, "rates": list(rates), **facts, **own}

    table = [line("bare loop, batches on the device", [bare], None)]
    turns = [{name: measured(words, mapped=name == MAPPED) for name, words in PLACES.items()} for _ in range(repeats)]
    table += [line(name, [turn[name].rate for turn in turns], turns[-1][name]) for name in PLACES]
    for name, words in PLACES.items():
        alone = gathering(settings_of(folder, epochs, [f"loader.batch_size={size}", *words]), mapped=name == MAPPED)
        print(f"  {name}: {alone:.2f} ms a batch without a step", flush=True)
        table.append({"batch": size, "name": name, "milliseconds": alone})
    for name, words in FORMATS.items():
        found = measured(words)
        table.append(line(name, [found.rate], found))
    return table
