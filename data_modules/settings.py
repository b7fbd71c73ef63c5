"""Declares beside a setting when it is read and whether it is a path; finds the settings that nothing reads.

A condition is text: clauses joined by `and`, these by `or`. A clause is `key = value, value`, `key != value`,
`key > number`, `key is set`, or `key has word` (an entry of a list begins with it; of a text, it contains the word). A
key that begins with a dot is of the same group. The text is what the user is shown.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any, NamedTuple

from data_modules.errors import UserError


def read_when(condition: str) -> dict[str, str]:
    """Metadata of a field that is read under a condition only; that of a group holds for all its settings."""
    return {"read_when": condition}


def path_setting(separator: str = "") -> dict[str, str]:
    """Metadata of a field that holds a path, or, with a separator, several; `expand_paths` expands `~` in it."""
    return {"path_separator": separator}


def expand_paths(config: Any) -> None:
    """Expand `~` in all paths of an instance of a settings class, which calls this in `__post_init__`."""
    for entry in fields(config):
        if (separator := entry.metadata.get("path_separator")) is None:
            continue
        value = getattr(config, entry.name)
        expanded = (
            {name: expand(folder, separator) for name, folder in value.items()}
            if isinstance(value, Mapping)
            else expand(value, separator)
        )
        setattr(config, entry.name, expanded)


def expand(text: str, separator: str = "") -> str:
    """Expand `~` at the beginning of a path.

    Args:
        text: a path; other text, and the home of an unknown user, stay as they are.
        separator: of several paths; empty for one.

    Returns:
        The expanded text.

    >>> expand("~/a:/b:~/c", ":").replace(os.path.expanduser("~"), "HOME"), expand("/a/~b")
    ('HOME/a:/b:HOME/c', '/a/~b')
    """
    parts = text.split(separator) if separator else [text]
    return separator.join(map(os.path.expanduser, parts))


def check_minima(config: Any, group: str, **minima: float) -> None:
    """Refuse settings below their minimum; null is none.

    Args:
        config: an instance of a settings class.
        group: prefix of its keys, without the dot.
        minima: field -> smallest value.

    Raises:
        UserError: with the full key of the first one.

    >>> check_minima(Inactive("rows", 0, ""), "loader", value=1)
    Traceback (most recent call last):
    data_modules.errors.UserError: loader.value=0 must be at least 1
    """
    for name, least in minima.items():
        value = getattr(config, name)
        if value is not None and value < least:
            raise UserError(f"{group}.{name}={value} must be at least {least}")


def refuse_interpolation(value: Any, source: str, key: str = "") -> None:
    """Refuse values with `${`, which OmegaConf would resolve, also from the environment.

    Args:
        value: nested plain values.
        source: of the values, named in the error.
        key: of the value, for those of a group.

    Raises:
        UserError: with the full key of the first one.

    >>> refuse_interpolation({"baseline": {"name": "${oc.env:HOME}"}}, "model.json")
    Traceback (most recent call last):
    data_modules.errors.UserError: model.json: baseline.name has ${...}, which is not resolved there; ...
    """
    if isinstance(value, Mapping):
        for name, entry in value.items():
            refuse_interpolation(entry, source, f"{key}.{name}" if key else str(name))
    elif isinstance(value, list | tuple):
        for entry in value:
            refuse_interpolation(entry, source, key)
    elif isinstance(value, str) and "${" in value:
        raise UserError(f"{source}: {key} has ${{...}}, which is not resolved there; write the value itself")


class Inactive(NamedTuple):
    """A setting that nothing reads.

    Attributes:
        key: its full key.
        value: as it is set.
        condition: under which it would be read.
    """

    key: str
    value: Any
    condition: str


def inactive(config: Any, prefix: str = "") -> Iterator[Inactive]:
    """Every setting of a configuration whose condition does not hold.

    Args:
        config: an instance of a settings class.
        prefix: of its keys, with the dot, where it is a group of another.

    Yields:
        The settings, in the order of their declaration.
    """
    flat = dict(_leaves(config, prefix))
    yield from _inactive(config, prefix, flat, ())


def _inactive(config: Any, prefix: str, flat: Mapping[str, Any], above: tuple[str, ...]) -> Iterator[Inactive]:
    for entry in fields(config):
        key, value = f"{prefix}{entry.name}", getattr(config, entry.name)
        own = entry.metadata.get("read_when")
        conditions = above if own is None else (*above, absolute(own, prefix))
        if is_dataclass(value):
            yield from _inactive(value, f"{key}.", flat, conditions)
            continue
        failing = next((condition for condition in conditions if not holds(condition, flat)), None)
        if failing is not None:
            yield Inactive(key, value, failing)


def _leaves(config: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    for entry in fields(config):
        value = getattr(config, entry.name)
        if is_dataclass(value):
            yield from _leaves(value, f"{prefix}{entry.name}.")
        else:
            yield f"{prefix}{entry.name}", value


def absolute(condition: str, prefix: str) -> str:
    """Write the keys of a condition that begin with a dot in full.

    Args:
        condition: as it is declared.
        prefix: of the group, with the dot.

    Returns:
        The condition.

    >>> absolute(".fit != none and seed > 0", "rectifier.")
    'rectifier.fit != none and seed > 0'
    """
    return " ".join(f"{prefix}{word[1:]}" if word.startswith(".") else word for word in condition.split(" "))


def holds(condition: str, values: Mapping[str, Any]) -> bool:
    """Whether a condition holds.

    Args:
        condition: with full keys.
        values: full key -> value.

    Returns:
        True where the setting is read.

    >>> holds("a.kind = x, y and a.count > 0", {"a.kind": "y", "a.count": 2})
    True
    >>> holds("a.kind != y or tasks has icu", {"a.kind": "y", "tasks": ["icu_90d"]})
    True
    """
    return any(all(_clause(clause, values) for clause in part.split(" and ")) for part in condition.split(" or "))


_OPERATORS: Mapping[str, Callable[[Any, str], bool]] = {
    "is": lambda value, text: bool(value) == (text == "set"),
    "!=": lambda value, text: _text(value) != text,
    "=": lambda value, text: _text(value) in text.split(", "),
    ">": lambda value, text: value > float(text),
    "has": lambda value, text: text in value if isinstance(value, str) else any(e.startswith(text) for e in value),
}


def _clause(clause: str, values: Mapping[str, Any]) -> bool:
    key, operator, text = clause.split(" ", 2)
    return _OPERATORS[operator](values[key], text)


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
