"""Settings that the chosen model does not read are refused: a run never looks as if they had been heeded.

Those that another setting switches off are told.
"""

from collections.abc import Callable, Iterator
from dataclasses import fields

from mmnar_lightning.baselines.registry import BASELINES, EstimatorBaseline
from mmnar_lightning.config.compose import flatten, shared_settings, to_plain
from mmnar_lightning.config.experiment import ConfigError, ExperimentConfig
from mmnar_lightning.distributed.launch import detect_launch
from mmnar_lightning.rectifier.config import RectifierConfig

SWITCHES: tuple[tuple[str, Callable[[ExperimentConfig], bool], tuple[str, ...]], ...] = (
    (
        "rectifier.fit=none",
        lambda config: config.rectifier.fit == "none",
        tuple(f"rectifier.{part.name}" for part in fields(RectifierConfig) if part.name != "fit"),
    ),
    (
        "rectifier.loss_offset=false",
        lambda config: not config.rectifier.loss_offset,
        ("rectifier.start_epoch", "rectifier.max_offset"),
    ),
    ("objective.contrast=0", lambda config: not config.objective.contrast, ("objective.temperature",)),
    (
        "no label-free term has a weight",
        lambda config: not config.objective.auxiliary,
        ("model.loo.sampled", "objective.anneal_epochs"),
    ),
)
"""What switches a part off, whether it does, and the settings of that part."""


def switched_off(config: ExperimentConfig) -> list[str]:
    """Settings that somebody gave and that another one makes idle, a line each: layers may lie over each other so."""
    usual, given = flatten(shared_settings(config.dataset)), flatten(to_plain(config))
    told = {
        key: f"{key}={given[key]} is not read: {switch}"
        for switch, is_off, keys in reversed(SWITCHES)
        for key in keys
        if is_off(config) and given[key] != usual.get(key)
    }
    return list(told.values())


def refuse_unread(config: ExperimentConfig) -> None:
    """Compare with what every experiment begins with: a setting that differs is one that somebody gave.

    Raises:
        ConfigError: naming the settings that would be ignored.
    """
    name = config.baseline.name
    baseline = BASELINES.get(name)
    if isinstance(baseline, EstimatorBaseline):
        _refuse_devices(config)
    given = list(_unread(config))
    if given:
        reader = "the model (baseline.name=none)" if name == "none" else f"the baseline {name}"
        told = ", ".join(f"{key}={value}" for key, value in given)
        off = ", ".join(f"{key}={baseline.off[key]}" for key, _ in given if key in baseline.off) if baseline else ""
        hint = f"; experiment=...,baselines/{name} sets {off}" if off else ""
        raise ConfigError(f"{told}: {reader} does not read this{hint}")


def _refuse_devices(config: ExperimentConfig) -> None:
    name, settings, launch = config.baseline.name, config.trainer, detect_launch()
    if launch is not None and launch.world_size > 1:
        raise ConfigError(f"{launch.by} started {launch.world_size} processes: only one can fit {name}; start one")
    if settings.devices > 1:
        raise ConfigError(f"trainer.devices={settings.devices}: only one process can fit {name}; leave it at 1")
    if settings.accelerator not in {"auto", "cpu"}:
        raise ConfigError(f"trainer.accelerator={settings.accelerator}: {name} is fitted on the CPU")


def _unread(config: ExperimentConfig) -> Iterator[tuple[str, object]]:
    """Keys and values that were given and would be ignored."""
    baseline, usual = BASELINES.get(config.baseline.name), flatten(shared_settings(config.dataset))
    others = tuple(f"baseline.{name}." for name in BASELINES if name != config.baseline.name)
    unread, read = (*baseline.unread, *others) if baseline else others, baseline.read if baseline else ()
    for key, value in flatten(to_plain(config)).items():
        if baseline and key in baseline.off:
            ignored = value != baseline.off[key]
        else:
            ignored = key.startswith(unread) and not key.startswith(read) and value != usual.get(key)
        if ignored:
            yield key, value
