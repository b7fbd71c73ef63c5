"""Which share of the training loop's time is spent in forward, backward and optimiser, on the CPU.

The cohort is drawn at random with the widths of experiment mimic_structured; cohort, loader, model, Trainer and
callbacks are those of a real run without W&B. A bare PyTorch loop over the same model, with batches that lie ready in
memory, runs in turns with it.
"""

import argparse
import logging
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import polars as pl
import torch
from lightning import Callback

from data_modules.batch import Batch
from data_modules.datamodule import CohortDataModule
from mmnar_lightning.config import compose
from mmnar_lightning.config.experiment import ExperimentConfig
from mmnar_lightning.module import MMNARModule
from mmnar_lightning.optim import MAX_GRADIENT_NORM, build_optimizer
from mmnar_lightning.runs import build
from mmnar_lightning.runs.run import Run
from mmnar_lightning.runs.trainer import build_pattern_metrics, build_trainer

WIDTHS = {
    "demographics": 36,
    "labs": 459,
    "vitals": 126,
    "medications": 133,
    "microbiology": 14,
    "procedures": 25,
}
"""Columns of the modalities of mimic_structured in the open demo."""
TASKS = ("readmission_30d", "icu_90d", "mortality_180d")
SPLITS = {"train": 0.8, "val": 0.1, "calibration": 0.05, "test": 0.05}
PRESENT_SHARE, MEASURED_SHARE = 0.7, 0.6
MIN_SHARE = 90.0
"""Per cent of the loop's time."""
PARTS = ("forward", "backward", "optimizer")
NETWORK = "network and loss"
"""Forward without what hands the losses to the loggers."""


def write_cohort(folder: Path, num_rows: int) -> None:
    """A cohort that obeys docs/cohort.md: vectors with gaps, absent modalities, unknown labels."""
    rng = np.random.default_rng(0)
    columns: dict[str, Any] = {
        "row_id": np.arange(num_rows),
        "subject_id": np.arange(num_rows),
        "split": rng.choice(list(SPLITS), num_rows, p=list(SPLITS.values())),
    }
    for task in TASKS:
        columns[f"label/{task}"] = pl.Series(rng.random(num_rows) < 0.2).set(
            pl.Series(rng.random(num_rows) < 0.1), None
        )
    for name, width in WIDTHS.items():
        columns[f"present/{name}"] = rng.random(num_rows) < PRESENT_SHARE
        values = rng.standard_normal((num_rows, width), dtype=np.float32)
        values[rng.random(values.shape, dtype=np.float32) > MEASURED_SHARE] = np.nan
        (folder / "modalities" / name).mkdir(parents=True)
        np.save(folder / "modalities" / name / "vectors.npy", values)
    pl.DataFrame(columns).write_parquet(folder / "cohort.parquet")


class StepClock(Callback):
    """Seconds of an epoch's training steps, and of the parts inside them; the first epoch is left out.

    Forward is the whole training_step (network, loss, handing both to the loggers), backward is the gradient,
    optimizer is clipping and the step.
    """

    def __init__(self) -> None:
        self._restart()

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Note when training_step begins and ends, and when a step of the optimiser ends."""
        step = pl_module.training_step

        def timed(*arguments: Any) -> Any:
            self._begin("forward")
            loss = step(*arguments)
            self._end("forward")
            return loss

        pl_module.training_step = timed
        pl_module.model.register_forward_pre_hook(lambda *_: self._begin(NETWORK))
        pl_module.objective.register_forward_hook(lambda *_: self._end(NETWORK))
        trainer.optimizers[0].register_step_post_hook(lambda *_: self._end("optimizer"))

    def on_before_backward(self, trainer: Any, pl_module: Any, loss: Any) -> None:
        """Backward begins."""
        self._begin("backward")

    def on_after_backward(self, trainer: Any, pl_module: Any) -> None:
        """Backward ends."""
        self._end("backward")

    def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
        """Clipping and step begin."""
        self._begin("optimizer")

    def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        """Start over, so that what stays is without warm-up and without the validation before."""
        if trainer.current_epoch == 1:
            self._restart()
        self._epoch_began = time.perf_counter()

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """The last batch ends the loop: validation and checkpoints come after it."""
        self.steps += 1
        if trainer.is_last_batch:
            self.total += time.perf_counter() - self._epoch_began

    def _restart(self) -> None:
        self.seconds = dict.fromkeys((*PARTS, NETWORK), 0.0)
        self.total, self.steps = 0.0, 0
        self._began: dict[str, float] = {}

    def _begin(self, part: str) -> None:
        self._began[part] = time.perf_counter()

    def _end(self, part: str) -> None:
        self.seconds[part] += time.perf_counter() - self._began[part]


def bare_loop(module: MMNARModule, batches: list[Batch], num_steps: int) -> float:
    """Seconds of a plain PyTorch loop over batches that lie in memory."""
    parameters = list(module.parameters())
    optimizer, schedule = build_optimizer(parameters, num_steps, module.optim)
    module.train()
    started = time.perf_counter()
    for step in range(num_steps):
        batch = batches[step % len(batches)]
        loss = module.objective(module.objective.terms(module(batch), batch))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, MAX_GRADIENT_NORM)
        optimizer.step()
        schedule.step()
    return time.perf_counter() - started


def trained(settings: ExperimentConfig, datamodule: CohortDataModule, folder: Path) -> StepClock:
    """Train as `mmnar train` does, with a clock."""
    module = build.build_module(settings, datamodule.cohort)
    run = Run(settings, datamodule, folder)
    trainer: Any = build_trainer(run, build_pattern_metrics(run), part=0)
    clock = StepClock()
    trainer.callbacks.append(clock)
    trainer.fit(module, datamodule=datamodule)
    return clock


def _timed(work: Callable[[], Any]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def measure(folder: Path, num_rows: int, epochs: int, repeats: int, words: Sequence[str]) -> None:
    """Train, bare loop and loader alone in turns; print medians."""
    write_cohort(folder / "given", num_rows)
    settings = compose.load(
        [
            "dataset=custom",
            f"paths.cohort={folder / 'given'}",
            f"paths.data={folder / 'data'}",
            "trainer.accelerator=cpu",
            f"trainer.max_epochs={epochs + 1}",
            "wandb.enabled=false",
            *words,
        ]
    )
    datamodule = build.build_datamodule(settings)
    datamodule.setup()
    loader = datamodule.train_dataloader()
    batches = list(loader)
    num_rows = sum(len(batch) for batch in batches)
    clocks, bare, alone = [], [], []
    for repeat in range(repeats):
        clocks.append(trained(settings, datamodule, folder / f"run-{repeat}"))
        module = build.build_module(settings, datamodule.cohort)
        bare.append(bare_loop(module, batches, clocks[-1].steps))
        alone.append(_timed(lambda: list(loader)))
    report(clocks, bare, alone, num_rows=num_rows, epochs=epochs)


def report(clocks: list[StepClock], bare: list[float], alone: list[float], *, num_rows: int, epochs: int) -> None:
    """Print the figures, the target beside them."""
    print(f"{len(clocks)} runs of {clocks[0].steps} steps, {torch.get_num_threads()} threads; medians (least to most)")
    for part in PARTS:
        _line(part, [100 * clock.seconds[part] / clock.total for clock in clocks], "% of the loop")
    _line(f"  of forward, {NETWORK}", [100 * clock.seconds[NETWORK] / clock.total for clock in clocks], "% of the loop")
    shares = [100 * sum(clock.seconds[part] for part in PARTS) / clock.total for clock in clocks]
    verdict = "met" if median(shares) >= MIN_SHARE else "MISSED"
    _line("inside forward, backward, optimizer", shares, f"% of the loop   target >= {MIN_SHARE:g}   {verdict}")
    _line("training loop", [epochs * num_rows / clock.total for clock in clocks], "rows/s")
    _line("bare PyTorch loop, batches in memory", [epochs * num_rows / seconds for seconds in bare], "rows/s")
    ratios = [100 * seconds / clock.total for seconds, clock in zip(bare, clocks, strict=True)]
    _line("bare loop's time / training loop's", ratios, "%")
    _line("loader alone", [num_rows / seconds for seconds in alone], "rows/s")


def _line(what: str, values: list[float], unit: str) -> None:
    print(f"{what:<40}{median(values):12,.1f} ({min(values):,.1f} to {max(values):,.1f}) {unit}")


def main(words: Sequence[str] | None = None) -> None:
    """Measure in a temporary folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=20_000, help="rows of the cohort")
    parser.add_argument("--epochs", type=int, default=2, help="epochs that count, after one to warm up")
    parser.add_argument("--repeats", type=int, default=3, help="runs of each, in turns")
    parser.add_argument("--threads", type=int, help="of PyTorch; 1 where other programs keep the cores busy")
    parser.add_argument("settings", nargs="*", help="key=value words of the experiment")
    arguments = parser.parse_args(words)
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory(prefix="mmnar-bench-") as scratch:
        measure(Path(scratch), arguments.rows, arguments.epochs, arguments.repeats, arguments.settings)


if __name__ == "__main__":
    main()
