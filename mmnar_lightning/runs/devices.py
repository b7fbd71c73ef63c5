"""Which devices a run may use, and the number formats that they have instructions for."""

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch

from data_modules.cores import usable_cores
from data_modules.vocabulary import Modality
from mmnar_lightning.config.experiment import ConfigError, ExperimentConfig
from mmnar_lightning.console import warn
from mmnar_lightning.distributed.launch import Launch, detect_launch

PRETRAINED = ("transformers", "timm")
"""Encoders whose operations are large enough for several threads."""
CPUINFO = Path("/proc/cpuinfo")
"""The processor's own account of its instructions, on Linux."""
BF16_FLAGS = {"avx512_bf16", "amx_bf16", "bf16"}
"""Its names for multiplications in bfloat16, the last one on ARM."""


def check_cores(config: ExperimentConfig) -> None:
    """Refuse more ranks on processors than this process may use: they would only wait for each other.

    Raises:
        ConfigError: with the number of cores.
    """
    devices = config.trainer.devices
    if detect_launch() is not None or not _on_processors(config):
        return
    if isinstance(devices, list):
        raise ConfigError(f"trainer.devices={devices} lists GPUs, but none is used; give a number of processes")
    cores = usable_cores()
    if (config.trainer.num_devices or 1) > cores:
        raise ConfigError(
            f"trainer.devices={devices}: this process may use {cores} processor cores, and no GPU is asked for; use "
            f"trainer.devices={cores} or fewer"
        )


def _on_processors(config: ExperimentConfig) -> bool:
    return config.trainer.accelerator == "cpu" or not torch.cuda.is_available()


def check_precision(config: ExperimentConfig) -> None:
    """Refuse float16 on processors, and warn of bfloat16 on those that only emulate it.

    Raises:
        ConfigError: for float16.
    """
    precision = config.trainer.precision
    if not _on_processors(config):
        return
    if precision == "16-mixed":
        raise ConfigError("trainer.precision=16-mixed needs a GPU, and none is used; use bf16-mixed or 32-true")
    if precision.startswith("bf16") and not has_bf16():
        warn(
            f"trainer.precision={precision}: this processor has no bf16 instructions, so training is about 7 times "
            "slower than with trainer.precision=32-true"
        )


def check_compile(config: ExperimentConfig, items: Sequence[str]) -> None:
    """Refuse to compile what has no fixed shapes, or without a compiler.

    Args:
        config: of the experiment.
        items: modalities with several items per row.

    Raises:
        ConfigError: naming the reason.
    """
    mode = config.trainer.compile
    if mode == "none":
        return
    if items:
        raise ConfigError(
            f"trainer.compile={mode} needs batches of one shape, but rows have any number of items of "
            f"{', '.join(items)}; omit it, or encode them once, with mode=frozen and pooling=mean under embed"
        )
    compiler = os.environ.get("CXX") or "g++"
    if not any(shutil.which(name) for name in (compiler, "clang++")):
        raise ConfigError(f"trainer.compile={mode}: torch.compile needs a C++ compiler, and {compiler} is not found")


@contextmanager
def threads_of_training(config: ExperimentConfig, items: Sequence[Modality], device: torch.device) -> Iterator[None]:
    """One thread of PyTorch on a processor, unless OMP_NUM_THREADS is set or a pretrained network is trained.

    Most operations of a step are too small to be shared by threads that sleep while they wait (docs/cluster.md).

    Args:
        config: of the experiment.
        items: modalities with several items per row.
        device: of the model.

    Yields:
        Nothing.
    """
    encoders = [config.embed.of(entry) for entry in items]
    large = any(own is not None and own.encoder in PRETRAINED and own.mode == "trained" for own in encoders)
    if device.type != "cpu" or large or "OMP_NUM_THREADS" in os.environ:
        yield
        return
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def launch_of(config: ExperimentConfig) -> Launch:
    """The processes that torchrun or srun started, else `trainer.devices` on this machine.

    Returns:
        Their number on each machine, and the number of machines.

    Raises:
        ConfigError: if torchrun or srun started another number of processes than `trainer.devices`.
    """
    launch, devices = detect_launch(), config.trainer.num_devices
    if launch is None:
        return Launch("mmnar", devices or 1, 1)
    if devices not in {None, 1, launch.devices}:
        raise ConfigError(
            f"trainer.devices={config.trainer.devices}, but {launch.by} started {launch.devices} processes on "
            "each machine; omit it"
        )
    return launch


def has_bf16(text: str | None = None) -> bool:
    """Whether the processor multiplies in bfloat16; assumed where it cannot be read.

    Args:
        text: content of /proc/cpuinfo; None reads it.

    Returns:
        True without an account of its instructions.

    >>> has_bf16("flags : fpu avx512f amx_bf16"), has_bf16("flags : fpu avx2"), has_bf16("")
    (True, False, True)
    """
    if text is None:
        text = CPUINFO.read_text(encoding="utf-8") if CPUINFO.is_file() else ""
    named = {line.partition(":")[0].strip(): line.partition(":")[2].split() for line in text.splitlines()}
    flags = named.get("flags") or named.get("Features")
    return flags is None or bool(BF16_FLAGS & set(flags))
