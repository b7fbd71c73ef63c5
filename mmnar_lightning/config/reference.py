"""What there is to set: key, type, default, meaning and condition of every setting, from the dataclasses themselves."""

import ast
import inspect
import sys
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from functools import cache
from itertools import pairwise
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from data_modules.settings import absolute
from mmnar_lightning.config.experiment import ExperimentConfig, cohort_config
from mmnar_lightning.config.read_by import COMMANDS

WORDS = {str: "text", int: "int", float: "float", bool: "true | false", NoneType: "null", Any: "any value"}
"""How plain types are written."""


@dataclass(frozen=True, kw_only=True)
class Setting:
    """A setting as it is declared.

    Attributes:
        key: its full key.
        kind: its type, in words.
        default: as it is written in YAML; `""` is empty text.
        meaning: its docstring, on one line.
        condition: under which it is read, with full keys; empty if it always is.
        commands: the commands that read it; empty if more than one kind does.
    """

    key: str
    kind: str
    default: str
    meaning: str
    condition: str
    commands: tuple[str, ...]


def settings_of(dataset: str) -> list[Setting]:
    """Every setting of the experiments on a dataset, in the order of declaration.

    Args:
        dataset: one of `experiment.datasets()`, whose cohort has settings of its own.

    Returns:
        The settings.

    >>> {found.key: (found.kind, found.default) for found in settings_of("mimic")}["optim.lr"]
    ('float', '0.0002')
    """
    return list(_settings(ExperimentConfig, "", (), {"cohort": cohort_config(dataset)}))


def _settings(
    owner: type, prefix: str, above: tuple[str, ...], own: Mapping[str, type] | None = None
) -> Iterator[Setting]:
    hints = {**get_type_hints(owner), **(own or {})}
    for entry in fields(owner):
        key, kind = f"{prefix}{entry.name}", hints[entry.name]
        condition = entry.metadata.get("read_when")
        conditions = above if condition is None else (*above, absolute(condition, prefix))
        if is_dataclass(kind) and isinstance(kind, type):
            yield from _settings(kind, f"{key}.", conditions)
            continue
        yield Setting(
            key=key,
            kind=kind_text(kind),
            default=value_text(_default(entry)),
            meaning=meanings(owner)[entry.name],
            condition=_joined(conditions),
            commands=next((names for name, names in COMMANDS.items() if f"{key}.".startswith(f"{name}.")), ()),
        )


def _joined(conditions: tuple[str, ...]) -> str:
    """Join conditions that all must hold; each may have alternatives."""
    if len(conditions) < 2:
        return "".join(conditions)
    return " and ".join(f"({one})" if " or " in one else one for one in conditions)


def _default(entry: Field[Any]) -> Any:
    return entry.default_factory() if entry.default_factory is not MISSING else entry.default


@cache
def meanings(owner: type) -> Mapping[str, str]:
    """Docstring of every field of a settings class, on one line; a subclass that repeats a field explains it anew.

    Args:
        owner: dataclass, whose source is read.

    Returns:
        Name of the field -> its meaning.

    >>> from mmnar_lightning.optim import OptimConfig
    >>> meanings(OptimConfig)["lr"]
    'Peak learning rate.'
    """
    found: dict[str, str] = {}
    for base in reversed(owner.__mro__):
        if not is_dataclass(base):
            continue
        (body,) = (node.body for node in _classes(base.__module__) if node.name == base.__name__)
        for statement, following in pairwise(body):
            if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name) and _is_text(following):
                found[statement.target.id] = " ".join(following.value.value.split())  # type: ignore[attr-defined]
    return found


@cache
def _classes(module: str) -> tuple[ast.ClassDef, ...]:
    source = inspect.getsource(sys.modules[module])
    return tuple(node for node in ast.parse(source).body if isinstance(node, ast.ClassDef))


def _is_text(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def kind_text(kind: Any) -> str:
    """Write a type in words.

    Args:
        kind: of a setting.

    Returns:
        The text.

    >>> kind_text(Literal["a", "b"]), kind_text(list[float]), kind_text(int | None), kind_text(dict[str, float])
    ('a | b', 'list of float', 'int | null', 'mapping of float')
    """
    origin, parts = get_origin(kind), get_args(kind)
    if origin is Literal:
        return " | ".join(map(str, parts))
    if origin in (Union, UnionType):
        return " | ".join(map(kind_text, parts))
    if origin in (list, dict):
        return f"{'list' if origin is list else 'mapping'} of {kind_text(parts[-1])}"
    return WORDS[kind]


def value_text(value: Any) -> str:
    """Write a value as YAML does.

    Args:
        value: of a setting.

    Returns:
        The text, on one line.

    >>> value_text(None), value_text(True), value_text(""), value_text(["a"]), value_text({}), value_text(2e-4)
    ('null', 'true', '""', '[a]', '{}', '0.0002')
    """
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(value_text, value))}]"
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{key}: {value_text(entry)}' for key, entry in value.items())}}}"
    return str(value) if value != "" else '""'
