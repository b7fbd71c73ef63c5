"""Settings that the chosen model does not read are refused: a run never looks as if they had been heeded."""

from collections.abc import Iterator

from mmnar_lightning.compose import shared_settings, to_plain
from mmnar_lightning.config import ConfigError, ExperimentConfig
from mmnar_lightning.folders import flatten
from mmnar_lightning.launch import launched
from mmnar_lightning.rivals.registry import RIVALS, Fitted


def refuse_unread(config: ExperimentConfig) -> None:
    """Compare with what every experiment begins with: a setting that differs is one that somebody gave.

    Raises:
        ConfigError: naming the settings that would be ignored.
    """
    name = config.rival.name
    rival = RIVALS.get(name)
    if isinstance(rival, Fitted):
        _refuse_devices(config)
    given = list(_unread(config))
    if given:
        reader = "the model (rival.name=none)" if name == "none" else f"the rival {name}"
        told = ", ".join(f"{key}={value}" for key, value in given)
        off = ", ".join(f"{key}={rival.off[key]}" for key, _ in given if key in rival.off) if rival else ""
        hint = f"; experiment=...,rivals/{name} sets {off}" if off else ""
        raise ConfigError(f"{told}: {reader} does not read this{hint}")


def _refuse_devices(config: ExperimentConfig) -> None:
    name, settings, launch = config.rival.name, config.trainer, launched()
    if launch is not None and launch.world_size > 1:
        raise ConfigError(f"{launch.by} started {launch.world_size} processes: only one can fit {name}; start one")
    if settings.devices > 1:
        raise ConfigError(f"trainer.devices={settings.devices}: only one process can fit {name}; leave it at 1")
    if settings.accelerator not in {"auto", "cpu"}:
        raise ConfigError(f"trainer.accelerator={settings.accelerator}: {name} is fitted on the CPU")


def _unread(config: ExperimentConfig) -> Iterator[tuple[str, object]]:
    """Keys and values that were given and would be ignored."""
    rival, usual = RIVALS.get(config.rival.name), flatten(shared_settings(config.dataset))
    others = tuple(f"rival.{name}." for name in RIVALS if name != config.rival.name)
    unread, read = (*rival.unread, *others) if rival else others, rival.read if rival else ()
    for key, value in flatten(to_plain(config)).items():
        if rival and key in rival.off:
            ignored = value != rival.off[key]
        else:
            ignored = key.startswith(unread) and not key.startswith(read) and value != usual.get(key)
        if ignored:
            yield key, value
