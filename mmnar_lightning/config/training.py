"""Settings of Lightning's Trainer, of loggers and callbacks, and of W&B."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from data_modules.errors import UserError
from data_modules.settings import check_minima, read_when

OF_TRAINER = {
    "accelerator": "trainer.accelerator decides it",
    "devices": "trainer.devices decides it",
    "num_nodes": "torchrun or srun starts the processes of several machines (docs/cluster.md)",
    "strategy": "trainer.strategy decides it",
    "precision": "trainer.precision decides it",
    "max_epochs": "trainer.max_epochs decides it",
    "max_steps": "training is counted in epochs, each of which ends with a validation; use trainer.max_epochs",
    "accumulate_grad_batches": "trainer.accumulate decides it",
    "deterministic": "trainer.deterministic decides it",
    "profiler": "trainer.profiler decides it",
    "enable_progress_bar": "trainer.progress_bar decides it",
    "logger": "`loggers` and wandb.enabled decide it",
    "callbacks": "`callbacks` decides it",
    "default_root_dir": "paths.runs decides it",
    "enable_checkpointing": "every run writes its checkpoints, from which it resumes",
    "plugins": "checkpoints are written atomically by a plugin of the program",
    "use_distributed_sampler": "the program shares rows between ranks itself",
    "gradient_clip_val": "gradients are always scaled to a norm of at most 1",
    "gradient_clip_algorithm": "gradients are always scaled to a norm of at most 1",
    "fast_dev_run": "it writes no checkpoint to evaluate; use experiment=...,debug/fast",
    "overfit_batches": "it replaces the order of rows; use experiment=...,debug/overfit",
    "num_sanity_val_steps": "the val split is scored after every epoch, and not before the first",
    "check_val_every_n_epoch": "the val split is scored after every epoch, and chooses the best one",
    "val_check_interval": "the val split is scored after every epoch, and chooses the best one",
    "limit_val_batches": "the val split is always scored whole, and chooses the best epoch",
    "limit_test_batches": "the test split is always scored whole",
    "limit_predict_batches": "all rows are predicted",
    "reload_dataloaders_every_n_epochs": "a resumed run opens its loader where it stopped",
    "barebones": "the program logs and writes checkpoints",
}
"""Argument of Lightning's Trainer that `trainer.extra` may not have -> what decides it."""
OF_WANDB = {
    "id": "it is that of the run's folder",
    "resume": "a resumed run continues its W&B run",
    "dir": "W&B writes into the run's folder",
    "mode": "W&B is offline unless WANDB_API_KEY is set",
    "config": "the settings of the run are logged",
    "settings": "the program sets it, so that nothing of this machine is sent",
    "project": "set WANDB_PROJECT",
    "entity": "set WANDB_ENTITY",
}
"""Argument of `wandb.init` that `wandb.init` may not have -> what decides it."""


def refuse_decided(key: str, given: Mapping[str, Any], decided: Mapping[str, str]) -> None:
    """Refuse arguments of a library that the program decides.

    Args:
        key: of the setting.
        given: argument -> value.
        decided: argument -> what decides it.

    Raises:
        UserError: for the first one.

    >>> refuse_decided("trainer.extra", {"max_epochs": 3}, OF_TRAINER)
    Traceback (most recent call last):
    data_modules.errors.UserError: trainer.extra.max_epochs=3: trainer.max_epochs decides it
    """
    for name, value in given.items():
        if name in decided:
            raise UserError(f"{key}.{name}={value}: {decided[name]}")


def check_named(key: str, entries: Sequence[Mapping[str, Any]]) -> None:
    """Refuse an entry of `callbacks` or `loggers` that does not name a class; nothing is imported.

    Args:
        key: of the setting.
        entries: each with `class`, a dotted path, and perhaps `args`, a mapping.

    Raises:
        UserError: naming the entry.

    >>> check_named("loggers", [{"class": "TensorBoard"}])
    Traceback (most recent call last):
    data_modules.errors.UserError: loggers: {'class': 'TensorBoard'} must be {class: package.module.Name, args: {...}}
    """
    for entry in entries:
        path, args = entry.get("class"), entry.get("args") or {}
        is_path = isinstance(path, str) and "." in path and all(part.isidentifier() for part in path.split("."))
        if not is_path or not isinstance(args, Mapping) or not set(entry) <= {"class", "args"}:
            raise UserError(f"{key}: {dict(entry)} must be {{class: package.module.Name, args: {{...}}}}")


@dataclass(kw_only=True)
class TrainerConfig:
    """Training length and devices."""

    max_epochs: int = 100
    """Maximum number of epochs."""
    patience: int = 15
    """Epochs without an improved validation AUROC before training stops."""
    accelerator: Literal["auto", "cpu", "gpu", "mps"] = "auto"
    """Kind of device."""
    devices: Any = 1
    """Devices per machine: a number, `auto` for all GPUs, or a list of GPUs; under torchrun and srun it is theirs."""
    strategy: Literal["auto", "ddp", "fsdp"] = "auto"
    """Parallelism; `auto` is `ddp` for several devices. `fsdp` shards large trained backbones over GPUs."""
    precision: Literal["32-true", "bf16-mixed", "bf16-true", "16-mixed"] = "32-true"
    """Number format of the forward pass; `16-mixed` needs a GPU. With `bf16-true` the network's matrices and their
    optimiser states are in bfloat16 too, which halves their memory and loses small steps."""
    accumulate: int = 1
    """Sequential parts of each step's global batch, so that a larger one fits into memory."""
    checkpoint_every_steps: int = 0
    """Steps between checkpoints within an epoch, the most that a killed run loses; 0 saves only at the epoch's end."""
    progress_bar: bool = True
    """Show a progress bar."""
    deterministic: bool = False
    """Refuse operations that do not give the same bits in every run on the same machine; slower on GPUs."""
    compile: Literal["none", "default", "reduce-overhead", "max-autotune"] = "none"
    """Compile forward, losses and backward of the training steps with `torch.compile` in this mode; on a GPU
    `reduce-overhead` replays them as CUDA graphs."""
    profiler: Literal["none", "simple", "advanced", "pytorch"] = "none"
    """Lightning's profiler; its report is in profile/ of the run."""
    extra: dict[str, Any] = field(default_factory=dict)
    """Other arguments of Lightning's Trainer, for example `{max_time: "00:12:00:00"}`; those that other settings decide
    are refused."""

    def __post_init__(self) -> None:
        """Refuse counts below one, devices that are none, sharding without GPUs, and arguments that are decided."""
        counts = dict.fromkeys(("max_epochs", "patience", "accumulate"), 1)
        check_minima(self, "trainer", checkpoint_every_steps=0, **counts)
        self._check_devices()
        if self.strategy == "fsdp" and self.accelerator in {"cpu", "mps"}:
            raise UserError(
                f"trainer.strategy=fsdp shards over GPUs, but trainer.accelerator={self.accelerator}; use ddp"
            )
        if self.strategy == "fsdp" and self.precision == "bf16-true":
            raise UserError("trainer.precision=bf16-true: shards have one number format; use bf16-mixed, or ddp")
        if self.strategy == "fsdp" and self.compile != "none":
            raise UserError(f"trainer.compile={self.compile}: a sharded model is not compiled; omit either")
        if self.compile in {"reduce-overhead", "max-autotune"} and self.accumulate > 1:
            raise UserError(
                f"trainer.compile={self.compile} replays graphs whose gradients trainer.accumulate={self.accumulate} "
                "cannot add up; use trainer.compile=default, or omit either"
            )
        if self.precision == "16-mixed" and self.accelerator in {"cpu", "mps"}:
            raise UserError(
                f"trainer.precision=16-mixed needs a GPU, but trainer.accelerator={self.accelerator}; use bf16-mixed"
            )
        refuse_decided("trainer.extra", self.extra, OF_TRAINER)

    def _check_devices(self) -> None:
        given = f"trainer.devices={self.devices}"
        if isinstance(self.devices, int) and not isinstance(self.devices, bool):
            check_minima(self, "trainer", devices=1)
            return
        if isinstance(self.devices, list) and self.devices:
            numbers = [number for number in self.devices if type(number) is int and number >= 0]
            if len(set(numbers)) == len(self.devices):
                return
        elif self.devices == "auto":
            return
        raise UserError(f"{given}: expected a number of devices, auto, or a list of different GPUs, for example [0, 2]")

    @property
    def num_devices(self) -> int | None:
        """Devices per machine; None for all that there are."""
        if self.devices == "auto":
            return None
        return len(self.devices) if isinstance(self.devices, list) else int(self.devices)


@dataclass(kw_only=True)
class WandbConfig:
    """The W&B logger; offline unless WANDB_API_KEY is set, and without prompts."""

    enabled: bool = True
    """Log to W&B; the CSV logger is always on."""
    model: bool = field(default=False, metadata=read_when(".enabled = true"))
    """Send the model folder of an evaluated run to W&B, as an artifact; its card has the terms of use."""
    init: dict[str, Any] = field(default_factory=dict, metadata=read_when(".enabled = true"))
    """Other arguments of `wandb.init`: name, group, job_type, tags, notes; those that the program decides are
    refused."""

    def __post_init__(self) -> None:
        """Refuse arguments that the program decides."""
        refuse_decided("wandb.init", self.init, OF_WANDB)

    @property
    def project(self) -> str:
        """W&B project of the runs: WANDB_PROJECT, as W&B names it, else mmnar."""
        return os.environ.get("WANDB_PROJECT") or "mmnar"
