"""Iterates over the keys of a configuration and the dataclasses that declare them."""

from collections.abc import Iterator, Mapping
from dataclasses import Field, fields, is_dataclass, replace
from functools import cache
from typing import Any, TypeVar, get_type_hints

Config = TypeVar("Config")


def walk(owner: type, prefix: str = "") -> Iterator[tuple[str, Field[Any], bool]]:
    """Iterate over all keys of a settings class, groups before their members.

    Args:
        owner: dataclass whose fields are settings or such dataclasses.
        prefix: of every key, including the dot.

    Yields:
        The full key, its field, and whether it is a group of settings.
    """
    hints = _hints(owner)
    for field in fields(owner):
        is_group = is_dataclass(hints[field.name])
        yield f"{prefix}{field.name}", field, is_group
        if is_group:
            yield from walk(hints[field.name], f"{prefix}{field.name}.")


def settings(owner: type) -> dict[str, Field[Any]]:
    """Key -> field of every setting of a settings class, without groups."""
    return {key: field for key, field, is_group in walk(owner) if not is_group}


def kinds(owner: type, prefix: str = "") -> dict[str, Any]:
    """Key -> declared type of every setting of a settings class, without groups."""
    found: dict[str, Any] = {}
    for name, kind in _hints(owner).items():
        if is_dataclass(kind) and isinstance(kind, type):
            found |= kinds(kind, f"{prefix}{name}.")
        else:
            found[f"{prefix}{name}"] = kind
    return found


def groups(owner: type) -> list[str]:
    """Keys of all groups of a settings class."""
    return [key for key, _, is_group in walk(owner) if is_group]


def replaced(config: Config, settings: Mapping[str, Any]) -> Config:
    """Replace settings of a configuration, those of a group together, so that they are checked together.

    Args:
        config: an instance of a settings class.
        settings: full key -> value.

    Returns:
        The changed copy.

    >>> from mmnar_lightning.losses.config import ObjectiveConfig
    >>> replaced(ObjectiveConfig(), {"contrast": 0.0, "pretrain_epochs": 2}).auxiliary
    ('reconstruction', 'assignment')
    """
    changed: dict[str, Any] = {}
    below: dict[str, dict[str, Any]] = {}
    for key, value in settings.items():
        name, _, rest = key.partition(".")
        if rest:
            below.setdefault(name, {})[rest] = value
        else:
            changed[name] = value
    changed |= {name: replaced(getattr(config, name), own) for name, own in below.items()}
    return replace(config, **changed)  # type: ignore[type-var]  # a dataclass, which no type says


@cache
def _hints(owner: type) -> Mapping[str, Any]:
    return get_type_hints(owner)
