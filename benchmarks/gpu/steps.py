"""Training steps a second on a GPU: where batches are gathered, compiled steps, number formats.

The cohort has random values in the widths of experiment mimic_structured; cohort, loader, model, Trainer and callbacks
are those of a real run without W&B.
"""

import itertools
import time
import warnings
from collections.abc import Mapping, Sequence
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
COMPILED_NAME = "+ trainer.compile=reduce-overhead"
FORMATS = {
    f"  with trainer.precision={name}": [*COMPILED, f"trainer.precision={name}"]
    for name in ("bf16-mixed", "16-mixed", "bf16-true")
}
"""Name -> words; over compiled steps, each trained once, with the last size of batches alone."""


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
    """Train with each of `PLACES`, compiled, and with each of `FORMATS`, for each batch size; print a table.

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
    table: list[dict[str, Any]] = []
    for size in sizes:
        with_size = Size(folder, size, epochs, repeats, peak["float32"])
        table += with_size.places()
        table += with_size.compiled({COMPILED_NAME: COMPILED} | (FORMATS if size == sizes[-1] else {}))
    return table


class Size:
    """Trainings with one size of batches, beside a bare loop over as many rows a step.

    Args:
        folder: with the cohort.
        rows: of a batch.
        epochs: that count.
        repeats: of the bare loop and of each of `PLACES`.
        peak: TFLOP/s of the card in float32.
    """

    def __init__(self, folder: Path, rows: int, epochs: int, repeats: int, peak: float) -> None:
        self.folder, self.rows, self.epochs, self.repeats, self.peak = folder, rows, epochs, repeats, peak
        self._runs = itertools.count()
        usual = self._settings([])
        datamodule = opened(usual)
        module = build.build_module(usual, datamodule.cohort, initialised=False).to("cuda")
        batches = device_batches(datamodule, 8)
        self.facts = step_facts(module, batches[0])
        bare = [bare_loop(module, batches, 60) for _ in range(repeats)]
        self.bare = median(bare)
        print(
            f"\nbatches of {rows}: {self.facts['kernels']:.0f} kernels, {self.facts['flops'] / 1e9:.2f} GFLOP and "
            f"{self.facts['waits']:.0f} waits for the device in forward, losses and backward"
        )
        head = ("steps/s", "least", "most", "rows/s", "/ bare loop", "of float32")
        print(f"{'':46}" + "".join(f"{name:>12}" for name in head) + f"{'memory':>11}{'1st epoch':>11}", flush=True)
        self._line("bare loop, batches on the device", bare, None)

    def places(self) -> list[dict[str, Any]]:
        """Train with each place of the batches in turns, and read them alone."""
        turns = [
            {name: self._trained(words, mapped=name == MAPPED) for name, words in PLACES.items()}
            for _ in range(self.repeats)
        ]
        table = [self._line(name, [turn[name].rate for turn in turns], turns[-1][name]) for name in PLACES]
        for line, (name, words) in zip(table, PLACES.items(), strict=True):
            line["milliseconds"] = gathering(self._settings(words), mapped=name == MAPPED)
            print(f"  {name}: {line['milliseconds']:.2f} ms a batch without a step", flush=True)
        return table

    def compiled(self, named: Mapping[str, Sequence[str]]) -> list[dict[str, Any]]:
        """Train with each of the words once."""
        table = []
        for name, words in named.items():
            found = self._trained(words)
            table.append(self._line(name, [found.rate], found))
        return table

    def _settings(self, words: Sequence[str]) -> Any:
        return settings_of(self.folder, self.epochs, [f"loader.batch_size={self.rows}", *words])

    def _trained(self, words: Sequence[str], *, mapped: bool = False) -> Measured:
        place = self.folder / f"run-{self.rows}-{next(self._runs)}"
        found = trained(self._settings(words), place, mapped=mapped)
        torch._dynamo.reset()
        return found

    def _line(self, name: str, rates: Sequence[float], found: Measured | None) -> dict[str, Any]:
        rate = median(rates)
        share = 100 * rate * self.facts["flops"] / (self.peak * 1e12)
        figures = [f"{value:>12,.1f}" for value in (rate, min(rates), max(rates))]
        figures += [f"{rate * self.rows:>12,.0f}", f"{rate / self.bare:>12.2f}", f"{share:>11.1f}%"]
        own = {} if found is None else {"memory": found.memory, "first": found.first}
        rest = "" if found is None else f"{found.memory / 1e6:>8,.0f} MB{found.first:>9.1f} s"
        print(f"{name:<46}{''.join(figures)}{rest}", flush=True)
        return {"batch": self.rows, "name": name, "bare": self.bare, "rates": list(rates), **self.facts, **own}
