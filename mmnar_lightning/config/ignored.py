"""Settings that nothing would read: one that was given on the command line is refused, one of a file is named.

A setting says beside its field under which condition it is read (data_modules/settings.py); a baseline says which
settings it does not read (baselines/registry.py).
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from data_modules.settings import Inactive, inactive
from mmnar_lightning.config.compose import flatten, shared_settings, to_plain
from mmnar_lightning.config.experiment import ConfigError, ExperimentConfig

if TYPE_CHECKING:
    from mmnar_lightning.baselines.registry import EstimatorBaseline, NetworkBaseline

COMMANDS = {
    "out": ("simulate",),
    "run": ("evaluate", "best"),
    "resume": ("train", "trial"),
    "resume_with": ("train", "trial"),
    "sweep": ("sweep",),
    "simulate.databases": ("simulate",),
}
"""Setting or group -> the commands that read it; all others are read by more than one."""


def check_ignored(config: ExperimentConfig) -> list[str]:
    """Refuse settings that nothing would read in a training.

    Args:
        config: composed; `config.given` holds the keys that were given as words.

    Returns:
        Lines on settings of files that are not read, for the user; layers may lie over each other so.

    Raises:
        ConfigError: naming the given settings, and the condition under which each would be read.
    """
    usual = flatten(shared_settings(config.dataset))
    idle = [found for found in inactive(config) if found.value != usual.get(found.key, {})]
    idle += [found for found in _of_baseline(config) if found.key not in {other.key for other in idle}]
    refused = [found for found in idle if _is_given(found.key, config)]
    if refused:
        raise ConfigError(
            "; ".join(f"{key}={value} is not read: it needs {condition}" for key, value, condition in refused)
            + "; leave it out"
        )
    return [f"{key}={value} is not read: it needs {condition}" for key, value, condition in idle]


def check_command(config: ExperimentConfig, command: str) -> None:
    """Refuse settings that were given to a command which does not read them.

    Raises:
        ConfigError: naming the setting and the commands that read it.
    """
    for key, commands in COMMANDS.items():
        given = sorted(name for name in config.given if name == key or name.startswith(f"{key}."))
        if given and command not in commands:
            raise ConfigError(f"{given[0]} is not read by `mmnar {command}`, only by {' and '.join(commands)}")


def _is_given(key: str, config: ExperimentConfig) -> bool:
    """Whether a key was given as a word; a baseline's own need counts as given by its name."""
    return any(key == name or key.startswith(f"{name}.") or name.startswith(f"{key}.") for name in config.given)


def _of_baseline(config: ExperimentConfig) -> Iterator[Inactive]:
    """Settings that the chosen baseline does not read.

    Raises:
        ConfigError: for terms of the objective that it does not have, and for devices that it cannot use.
    """
    name = config.baseline.name
    if name == "none":
        return
    from mmnar_lightning.baselines.registry import EstimatorBaseline, find

    baseline = find(name)
    if isinstance(baseline, EstimatorBaseline):
        _refuse_devices(config)
    usual, given = flatten(shared_settings(config.dataset)), flatten(to_plain(config))
    _refuse_terms(name, baseline, given)
    for key, value in given.items():
        unread = key.startswith(baseline.unread) and not key.startswith(baseline.read)
        if key not in baseline.off and unread and value != usual.get(key):
            yield Inactive(key, value, f"another baseline.name than {name}")


def _refuse_terms(name: str, baseline: "NetworkBaseline | EstimatorBaseline", given: dict[str, object]) -> None:
    """Refuse what a baseline does not have, unless it is switched off."""
    wrong = {key: off for key, off in baseline.off.items() if given[key] != off}
    if wrong:
        has = ", ".join(f"{key}={given[key]}" for key in wrong)
        needed = ", ".join(f"{key}={off}" for key, off in wrong.items())
        layer = "" if ":" in name else f", as experiment=...,baselines/{name} does"
        raise ConfigError(f"{has}: the baseline {name} does not have this; set {needed}{layer}")


def _refuse_devices(config: ExperimentConfig) -> None:
    from mmnar_lightning.distributed.launch import detect_launch

    name, settings, launch = config.baseline.name, config.trainer, detect_launch()
    if launch is not None and launch.world_size > 1:
        raise ConfigError(f"{launch.by} started {launch.world_size} processes: only one can fit {name}; start one")
    if settings.devices > 1:
        raise ConfigError(f"trainer.devices={settings.devices}: only one process can fit {name}; leave it at 1")
    if settings.accelerator not in {"auto", "cpu"}:
        raise ConfigError(f"trainer.accelerator={settings.accelerator}: {name} is fitted on the CPU")
