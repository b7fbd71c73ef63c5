"""Finds settings that would not be read: refuses those given on the command line, and reports those of files.

The condition under which a setting is read is declared beside its field (data_modules/settings.py), and the settings
that a baseline does not read with the baseline (baselines/registry.py).
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from data_modules.settings import Inactive, inactive
from mmnar_lightning.config.compose import flatten, to_plain
from mmnar_lightning.config.experiment import ConfigError, ExperimentConfig
from mmnar_lightning.config.layers import shared_settings
from mmnar_lightning.config.read_by import COMMANDS, EVERYWHERE, READ

if TYPE_CHECKING:
    from mmnar_lightning.baselines.registry import EstimatorBaseline, NetworkBaseline


def check_ignored(config: ExperimentConfig) -> list[str]:
    """Refuse settings that training would not read.

    Args:
        config: composed; `config.given` holds the keys that were given as words.

    Returns:
        Lines for the user on settings of files that are not read, which layered files may cause.

    Raises:
        ConfigError: naming the given settings, and the condition under which each would be read.
    """
    idle = _idle(config)
    refused = [found for found in idle if _is_given(found.key, config)]
    if refused:
        raise ConfigError(
            "; ".join(f"{key}={value} is not read: it needs {condition}" for key, value, condition in refused)
            + "; omit it"
        )
    return [f"{key}={value} is not read: it needs {condition}" for key, value, condition in idle]


def unread(config: ExperimentConfig) -> set[str]:
    """Keys of `config.given` that training would not read."""
    idle = [found.key for found in _idle(config)]
    return {name for name in config.given if any(_concerns(name, key) for key in idle)}


def _idle(config: ExperimentConfig) -> list[Inactive]:
    """Settings other than the usual ones that training would not read."""
    usual = flatten(shared_settings(config.dataset))
    idle = [found for found in inactive(config) if found.value != usual.get(found.key, {})]
    return idle + [found for found in _of_baseline(config, usual) if found.key not in {other.key for other in idle}]


def check_command(config: ExperimentConfig, command: str) -> None:
    """Refuse settings that were given but that the command does not read.

    Raises:
        ConfigError: naming the setting and the commands that read it.
    """
    for key, commands in COMMANDS.items():
        given = sorted(name for name in config.given if name == key or name.startswith(f"{key}."))
        if given and command not in commands:
            raise ConfigError(f"{given[0]} is not read by `mmnar {command}`, only by {' and '.join(commands)}")
    if command in READ:
        read = (*READ[command], *EVERYWHERE)
        refused = sorted(name for name in config.given if not concerns(name, read))
        if refused:
            reads = ", ".join(READ[command])
            raise ConfigError(f"{refused[0]} is not read by `mmnar {command}`, which reads {reads}; omit it")


def concerns(name: str, keys: Iterable[str]) -> bool:
    """Whether the key of a word is one of some settings, a group of one, or a part of one."""
    return any(_concerns(name, key) for key in keys)


def _is_given(key: str, config: ExperimentConfig) -> bool:
    """Whether a key, its group or a part of it was given as a word."""
    return any(_concerns(name, key) for name in config.given)


def _concerns(name: str, key: str) -> bool:
    """Whether the key of a word is a setting's key, its group or a part of it."""
    return key == name or key.startswith(f"{name}.") or name.startswith(f"{key}.")


def _of_baseline(config: ExperimentConfig, usual: Mapping[str, object]) -> Iterator[Inactive]:
    """Find the settings that the selected baseline does not read.

    Terms of the objective that it lacks, and devices that it cannot use, raise a `ConfigError`.

    Yields:
        Each setting that is not read.
    """
    name = config.baseline.name
    if name == "none":
        return
    from mmnar_lightning.baselines.registry import EstimatorBaseline, find

    baseline = find(name)
    if isinstance(baseline, EstimatorBaseline):
        _refuse_devices(config)
        _refuse_weights(config, baseline)
    settings = flatten(to_plain(config))
    _refuse_terms(name, baseline, settings)
    for key, value in settings.items():
        unread = key.startswith(baseline.unread) and not key.startswith(baseline.read)
        if key not in baseline.off and unread and value != usual.get(key):
            yield Inactive(key, value, f"another baseline.name than {name}")


def _refuse_terms(name: str, baseline: "NetworkBaseline | EstimatorBaseline", settings: dict[str, object]) -> None:
    """Refuse terms and components that a baseline lacks, unless they are switched off."""
    wrong = {key: off for key, off in baseline.off.items() if settings[key] != off}
    if wrong:
        has = ", ".join(f"{key}={settings[key]}" for key in wrong)
        needed = ", ".join(f"{key}={off}" for key, off in wrong.items())
        layer = "" if ":" in name else f", as experiment=...,baselines/{name} does"
        raise ConfigError(f"{has}: the baseline {name} does not have this; set {needed}{layer}")


def _refuse_weights(config: ExperimentConfig, baseline: "EstimatorBaseline") -> None:
    """Refuse weights of rows for an estimator that would not read them."""
    name, quantile = config.baseline.name, config.baseline.inverse_probability
    if quantile is not None and not baseline.weighted:
        why = "its class does not say `weighted = True`" if ":" in name else "it is not fitted on rows"
        raise ConfigError(
            f"baseline.inverse_probability={quantile}: {name} reads no weights ({why}); set it to null, or choose "
            "another baseline.name"
        )


def _refuse_devices(config: ExperimentConfig) -> None:
    from mmnar_lightning.distributed.launch import detect_launch

    name, settings, launch = config.baseline.name, config.trainer, detect_launch()
    if launch is not None and launch.world_size > 1:
        raise ConfigError(f"{launch.by} started {launch.world_size} processes: only one can fit {name}; start one")
    if (settings.num_devices or 1) > 1:
        raise ConfigError(f"trainer.devices={settings.devices}: only one process can fit {name}; set it to 1")
    if settings.accelerator not in {"auto", "cpu"}:
        raise ConfigError(f"trainer.accelerator={settings.accelerator}: {name} is fitted on the CPU")
