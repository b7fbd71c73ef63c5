"""What happens around the steps costs little: callbacks and metrics, checkpoints; and steps a second on several ranks.

All with the defaults: W&B (offline), and the rectifier, whose fit for the loss is moved to the second epoch. The
cohort is that of benchmarks/loader.py. Every start on several ranks is `mmnar train` by torchrun.
"""

import argparse
import logging
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any
from unittest.mock import patch

import polars as pl
import torch
import wandb
from lightning import Callback

from benchmarks.loader import write_cohort
from mmnar_lightning.callbacks.checkpoints import checkpoint_callbacks
from mmnar_lightning.callbacks.loss_offset import LossOffsetFit
from mmnar_lightning.config import compose
from mmnar_lightning.runs import build
from mmnar_lightning.runs import trainer as training
from mmnar_lightning.runs.run import Run
from mmnar_lightning.runs.trainer import build_pattern_metrics, build_trainer

MAX_SHARE = 3.0
"""Per cent of an epoch that callbacks and metrics may take."""
HOOKS = (
    "on_train_epoch_start",
    "on_train_batch_start",
    "on_train_batch_end",
    "on_validation_batch_end",
    "on_validation_epoch_end",
    "on_train_epoch_end",
)
"""Hooks that callbacks use in an epoch; checkpoints, and the fit of the loss offset, are timed on their own."""


class Epochs(Callback):
    """Seconds of each epoch, from its start to the start of the next."""

    def __init__(self) -> None:
        self.began: list[float] = []

    def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        """An epoch begins."""
        self.began.append(time.perf_counter())

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """The last one ends."""
        self.began.append(time.perf_counter())


class Clock:
    """Seconds inside functions that it wraps."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.calls: list[float] = []

    def wrap(self, work: Callable[..., Any]) -> Callable[..., Any]:
        """The function, timed."""

        def timed(*given: Any, **named: Any) -> Any:
            started = time.perf_counter()
            try:
                return work(*given, **named)
            finally:
                self.calls.append(time.perf_counter() - started)
                self.seconds += self.calls[-1]

        return timed


def words_of(folder: Path, epochs: int) -> list[str]:
    """The settings of every run here."""
    return [
        "dataset=custom",
        f"paths.cohort={folder / 'given'}",
        f"paths.data={folder / 'data'}",
        "trainer.accelerator=cpu",
        "trainer.progress_bar=false",
        f"trainer.max_epochs={epochs}",
        "rectifier.start_epoch=1",
        "evaluate=false",
    ]


def measure_callbacks(folder: Path, epochs: int) -> None:
    """One run with every hook of every callback timed."""
    settings = compose.load(words_of(folder, epochs + 1))
    datamodule = build.build_datamodule(settings)
    datamodule.setup()
    module = build.build_module(settings, datamodule.cohort)
    run = Run(settings, datamodule, folder / "timed")
    trainer: Any = build_trainer(run, build_pattern_metrics(run), part=0)
    hooks, saves, fits, epoch = Clock(), Clock(), Clock(), Epochs()
    for callback in trainer.callbacks:
        for name in HOOKS:
            setattr(callback, name, hooks.wrap(getattr(callback, name)))
        if isinstance(callback, LossOffsetFit):
            setattr(callback, "_fit", fits.wrap(callback._fit))  # noqa: B010  # mypy: no assignment to a method
    trainer.strategy.save_checkpoint = saves.wrap(trainer.strategy.save_checkpoint)
    trainer.callbacks.insert(0, epoch)
    trainer.fit(module, datamodule=datamodule)
    wandb.finish()
    apart = saves.seconds + fits.seconds
    total = epoch.began[-1] - epoch.began[0] - apart
    share = 100 * (hooks.seconds - apart) / total
    verdict = "met" if share <= MAX_SHARE else "MISSED"
    print(f"callbacks and metrics{share:12.2f} % of an epoch   target <= {MAX_SHARE:g}   {verdict}")
    size = (folder / "timed" / "checkpoints" / "last.ckpt").stat().st_size / 2**20
    print(f"writing a checkpoint {1000 * median(saves.calls):12.1f} ms ({size:.1f} MiB, median of {len(saves.calls)})")
    print(f"fit of the loss offset{1000 * sum(fits.calls):10.1f} ms ({len(fits.calls)} in a run)")


def steps_a_second(folder: Path, ranks: int, epochs: int) -> float:
    """Of the epochs after the first, from the times of the metrics file."""
    single = folder / f"ranks{ranks}"
    command = ["-m", "benchmarks.ranks", "--inside", *words_of(folder, epochs + 1), f"paths.runs={single}"]
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}"]
    subprocess.run([sys.executable, *launcher, *command], check=True, stdout=subprocess.DEVNULL)
    frame = pl.read_csv(single / "times.csv")
    return float(frame["steps"][-1] / frame["seconds"][-1])


def inside(words: list[str]) -> None:
    """One rank of several; the first writes how long its epochs took, validation and checkpoints included."""
    from mmnar_lightning.distributed import launch
    from mmnar_lightning.distributed.collectives import rank
    from mmnar_lightning.runs import single

    epoch = Epochs()
    launch.init_process_group()
    settings = compose.load(words)
    with patch.object(training, "checkpoint_callbacks", lambda *given: [epoch, *checkpoint_callbacks(*given)]):
        folder = single.train(settings)
    if rank() == 0:
        steps = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["global_step"]
        counted = steps - steps // settings.trainer.max_epochs
        seconds = epoch.began[-1] - epoch.began[1]
        pl.DataFrame({"steps": [counted], "seconds": [seconds]}).write_csv(Path(settings.paths.runs) / "times.csv")


def main() -> None:
    """Measure in a temporary folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=20_000, help="rows of the cohort")
    parser.add_argument("--epochs", type=int, default=2, help="epochs that count, after one to warm up")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("settings", nargs="*", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)  # the ranks share the cores, so that one thread each is the fair comparison
    if arguments.inside:
        inside(arguments.settings)
        return
    with tempfile.TemporaryDirectory(prefix="mmnar-bench-") as scratch:
        write_cohort(Path(scratch) / "given", arguments.rows)
        measure_callbacks(Path(scratch), arguments.epochs)
        for ranks in (1, 2):
            rate = steps_a_second(Path(scratch), ranks, arguments.epochs)
            print(f"{ranks} rank(s), one thread each{rate:10.1f} steps/s")


if __name__ == "__main__":
    main()
