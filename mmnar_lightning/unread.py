"""Settings that the chosen model does not read are refused: a run never looks as if they had been heeded."""

from mmnar_lightning.config import ConfigError, ExperimentConfig, shared_settings, to_plain
from mmnar_lightning.folders import flatten
from mmnar_lightning.objective import AUXILIARY
from mmnar_lightning.rivals.registry import RIVALS, Fitted


def refuse_unread(config: ExperimentConfig) -> None:
    """Compare with what every experiment begins with: a setting that differs is one that somebody gave.

    Raises:
        ConfigError: naming the settings that would be ignored.
    """
    name = config.rival.name
    rival = RIVALS.get(name)
    own, usual = flatten(to_plain(config)), flatten(shared_settings(config.dataset))
    if isinstance(rival, Fitted) and config.trainer.devices > 1:
        raise ConfigError(f"trainer.devices={config.trainer.devices}: only one process can fit {name}; leave it at 1")
    if isinstance(rival, Fitted) and config.trainer.accelerator not in {"auto", "cpu"}:
        raise ConfigError(f"trainer.accelerator={config.trainer.accelerator}: {name} is fitted on the CPU")
    trained = [f"objective.{term}" for term in AUXILIARY] if rival else []
    unread = (*(rival.unread if rival else ()), *(f"rival.{other}." for other in RIVALS if other != name))
    given = [
        f"{key}={value}"
        for key, value in own.items()
        if (value != 0 if key in trained else key.startswith(unread) and value != usual.get(key))
    ]
    if given:
        reader = f"the rival {name}" if rival else "the model (rival.name=none)"
        at_zero = any(word.startswith(tuple(trained)) for word in given) if trained else False
        hint = f"; experiment=...,rivals/{name} sets the label-free terms to 0" if at_zero else ""
        raise ConfigError(f"{', '.join(given)}: {reader} does not read this{hint}")
