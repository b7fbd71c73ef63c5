"""Builds what a user names by class path: callbacks and loggers. Only such a path imports foreign code."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from importlib import import_module
from typing import Any

from lightning import Callback
from lightning.pytorch.loggers import Logger

from mmnar_lightning import lean_torchmetrics
from mmnar_lightning.config.experiment import ConfigError

KINDS: Mapping[str, type[Any]] = {"callbacks": Callback, "loggers": Logger}
"""Setting -> the class that each of its entries must be derived from."""


def refuse_unknown(key: str, given: Mapping[str, Any], takes: Callable[..., Any], owner: str) -> None:
    """Refuse arguments that a function does not take.

    Args:
        key: of the setting that holds them.
        given: name -> value.
        takes: the function.
        owner: its name, for the message.

    Raises:
        ConfigError: naming the first one, and the argument that is probably meant.
    """
    known = list(inspect.signature(takes).parameters)
    for name, value in given.items():
        if name not in known:
            near = get_close_matches(name, known, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise ConfigError(f"{key}.{name}={value}: {owner} has no such argument{hint}")


def build_named(key: str, entries: Sequence[Mapping[str, Any]], **usual: Any) -> list[Any]:
    """Build the objects of `callbacks` or `loggers`.

    A class that cannot be imported, is of another kind or refuses its arguments raises a `ConfigError`.

    Args:
        key: of the setting, one of `KINDS`.
        entries: checked by `config.training.check_named`.
        usual: arguments that are passed where a class takes them and the entry does not give them.

    Returns:
        The objects, in the same order.
    """
    return [_built(key, entry["class"], dict(entry.get("args") or {}), usual) for entry in entries]


def _built(key: str, path: str, args: dict[str, Any], usual: Mapping[str, Any]) -> Any:
    lean_torchmetrics.complete()
    module, _, name = path.rpartition(".")
    try:
        found = getattr(import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"{key}: {path}: {error}; install the package, or add its folder to PYTHONPATH") from error
    base = KINDS[key]
    if not (isinstance(found, type) and issubclass(found, base)):
        raise ConfigError(f"{key}: {path} is no subclass of {base.__module__}.{base.__name__}")
    taken = inspect.signature(found).parameters
    try:
        return found(**{name: value for name, value in usual.items() if name in taken} | args)
    except (TypeError, ValueError, ImportError) as error:
        raise ConfigError(f"{key}: {path} refuses args={args}: {error}") from error
