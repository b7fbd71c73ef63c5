"""Reads and validates a sweep file, YAML in the format of W&B."""

import itertools
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import GenericAlias
from typing import Any

import yaml

from data_modules.errors import UserError
from mmnar_lightning.config.layers import kinds
from mmnar_lightning.config.yaml_files import read_yaml

KNOWN = {
    "name", "description", "project", "entity", "program", "command",
    "method", "metric", "parameters", "early_terminate", "run_cap",
}  # fmt: skip
"""Keys of a file, as W&B names them."""
METHODS = ("grid", "random", "bayes")
RANGES = ("uniform", "log_uniform_values", "q_uniform", "int_uniform")
"""Distributions between `min` and `max` that both searches support."""
EXPANDED = ("${env}", "${interpreter}", "${program}", "${args_no_hyphens}")
"""Words of a command that are expanded; W&B's agent would also insert variables of the environment."""
Value = str | int | float | bool

SWEEP_FILE = "sweep.yaml"
"""The sweep file in the folder of a sweep."""


class SweepError(UserError):
    """A sweep file is invalid or uses a feature that only one of the two searches supports."""


@dataclass(frozen=True)
class Parameter:
    """One setting that is varied over trials.

    Attributes:
        key: full key of the setting.
        values: candidates; empty for a range.
        distribution: of a range, one of `RANGES`; `categorical` otherwise.
        low: minimum of a range.
        high: maximum of a range.
        step: distance between values (q_uniform).
    """

    key: str
    values: tuple[Value, ...] = ()
    distribution: str = "categorical"
    low: float = 0.0
    high: float = 0.0
    step: float | None = None

    @property
    def extremes(self) -> tuple[Value, ...]:
        """Values that are all valid if and only if the whole space is."""
        return self.values or (self.low, self.high)


@dataclass(frozen=True)
class Hyperband:
    """Early termination of the worse trials after min_iter, min_iter·eta, ... epochs."""

    min_iter: int
    max_iter: int | None
    eta: int


@dataclass(frozen=True)
class Sweep:
    """A sweep file.

    Attributes:
        plain: content of the file, as passed to W&B.
        method: grid, random or bayes.
        metric: logged key by which trials are compared.
        maximise: whether larger values are better.
        parameters: varied settings, in the order of the file.
        hyperband: early termination, if any.
        command: words that start a trial, with W&B's `${...}`.
        run_cap: maximum number of trials, if given.
    """

    plain: dict[str, Any]
    method: str
    metric: str
    maximise: bool
    parameters: tuple[Parameter, ...]
    hyperband: Hyperband | None
    command: tuple[str, ...]
    run_cap: int | None

    def grid(self) -> list[dict[str, Value]]:
        """All combinations, the last parameter varying fastest."""
        keys = [parameter.key for parameter in self.parameters]
        combinations = itertools.product(*(parameter.values for parameter in self.parameters))
        return [dict(zip(keys, values, strict=True)) for values in combinations]

    def words(self, values: Mapping[str, Value]) -> list[str]:
        """The command of one trial, as W&B's agent expands it."""
        found: list[str] = []
        for word in self.command:
            found.extend(_expand(word, self.plain, values))
        return found

    def settings(self) -> list[str]:
        """The `key=value` words of the command, common to all trials."""
        return [word for word in self.command if re.match(r"[a-z_.]+=", word)]


def read(path: Path) -> Sweep:
    """Read a sweep file.

    Args:
        path: the YAML file.

    Returns:
        The validated sweep.

    Raises:
        SweepError: naming the key, the given value and the expected one.
    """
    try:
        text = read_yaml(path, _kinds(), allowed=_is_expanded)
    except OSError as error:
        raise SweepError(f"sweep.file={path}: cannot be read ({error.strerror})") from error
    try:
        return parse(yaml.safe_load(text))
    except SweepError as error:
        raise SweepError(f"{path}: {error}") from None


def _is_expanded(key: str, text: str) -> bool:
    """Whether a text of a sweep file has no `${...}` but a word of the command that both searches expand."""
    return "${" not in text or (key == "command" and text in EXPANDED)


def _kinds() -> dict[str, Any]:
    """Declared types of the values of a sweep file, as of the settings that they are given to."""
    found: dict[str, Any] = {}
    for key, kind in kinds().items():
        found |= {f"parameters.{key}.value": kind, f"parameters.{key}.values": GenericAlias(list, (kind,))}
    return found


def parse(plain: Any) -> Sweep:
    """Validate the content of a sweep file.

    Args:
        plain: the parsed YAML.

    Returns:
        The sweep.

    Raises:
        SweepError: naming the key, the given value and the expected one.

    >>> plain = {
    ...     "method": "grid",
    ...     "metric": {"name": "val/auroc_best", "goal": "maximize"},
    ...     "command": ["mmnar", "trial", "${args_no_hyphens}"],
    ...     "parameters": {"seed": {"values": [0, 1]}, "optim.lr": {"value": 0.001}},
    ... }
    >>> parse(plain).grid()
    [{'seed': 0, 'optim.lr': 0.001}, {'seed': 1, 'optim.lr': 0.001}]
    >>> parse(plain).words({"seed": 1, "optim.lr": 0.001})
    ['mmnar', 'trial', 'seed=1', 'optim.lr=0.001']
    """
    if not isinstance(plain, dict):
        raise SweepError("expected keys and values in the sweep format of W&B")
    _reject_unknown("", plain, KNOWN)
    method = plain.get("method")
    if method not in METHODS:
        raise SweepError(f"method={method}: expected one of {', '.join(METHODS)}")
    metric = plain.get("metric") or {}
    if not metric.get("name") or metric.get("goal") not in {"maximize", "minimize"}:
        raise SweepError(f"metric={metric}: expected name, and goal: maximize or minimize")
    given = plain.get("parameters")
    if not isinstance(given, dict) or not given:
        raise SweepError("parameters: expected at least one setting, for example optim.lr")
    parameters = tuple(_parameter(str(key), entry) for key, entry in given.items())
    if method == "grid" and (ranges := [parameter.key for parameter in parameters if not parameter.values]):
        raise SweepError(f"parameters.{ranges[0]}: a grid needs `values`, not a range")
    return Sweep(
        plain,
        method,
        metric["name"],
        metric["goal"] == "maximize",
        parameters,
        _hyperband(plain.get("early_terminate")),
        _command(plain.get("command")),
        _count("run_cap", plain.get("run_cap")),
    )


def _parameter(key: str, given: Any) -> Parameter:
    name = f"parameters.{key}"
    if not isinstance(given, dict):
        raise SweepError(f"{name}={given}: expected value, values, or min and max")
    if "parameters" in given:
        raise SweepError(f"{name}: nested parameters are not supported; use the full key, {key}.<setting>")
    _reject_unknown(f"{name}.", given, {"value", "values", "min", "max", "q", "distribution"})
    if "value" in given or "values" in given:
        return Parameter(key, tuple(_value(name, value) for value in given.get("values", [given.get("value")])))
    return _range(key, name, given)


def _value(name: str, value: Any) -> Value:
    if not isinstance(value, Value):
        raise SweepError(f"{name}: {value!r} must be a number, text, true or false; quote null and lists")
    return value


def _range(key: str, name: str, given: Mapping[str, Any]) -> Parameter:
    low, high = (_number(name, given.get(bound)) for bound in ("min", "max"))
    step = None if "q" not in given else _number(name, given["q"])
    whole = isinstance(low, int) and isinstance(high, int)
    distribution = given.get("distribution", "int_uniform" if whole else "uniform")
    if distribution not in RANGES:
        raise SweepError(f"{name}.distribution={distribution}: expected one of {', '.join(RANGES)}, or values")
    if low >= high or (distribution == "log_uniform_values" and low <= 0):
        raise SweepError(f"{name}: min={low} must be below max={high}, and above 0 for log_uniform_values")
    if distribution == "int_uniform" and not whole:
        raise SweepError(f"{name}: int_uniform needs integers, not {low} and {high}")
    if distribution == "q_uniform":
        step = 1.0 if step is None else float(step)
        if step <= 0 or any(abs(bound / step - round(bound / step)) > 1e-9 for bound in (low, high)):
            raise SweepError(f"{name}: min={low} and max={high} must be multiples of q={step}")
    elif step is not None:
        raise SweepError(f"{name}.q={step}: only q_uniform reads it")
    return Parameter(key, (), distribution, low, high, step)


def _number(name: str, bound: Any) -> float:
    if isinstance(bound, bool) or not isinstance(bound, int | float):
        raise SweepError(
            f"{name}: min, max and q must be numbers, not {bound!r} (YAML reads 1e-4 as text; write 1.0e-4)"
        )
    return bound


def _hyperband(given: Any) -> Hyperband | None:
    if given is None:
        return None
    if not isinstance(given, dict) or given.get("type") != "hyperband":
        raise SweepError(f"early_terminate={given}: expected type: hyperband")
    _reject_unknown("early_terminate.", given, {"type", "min_iter", "max_iter", "s", "eta", "strict"})
    eta = _count("early_terminate.eta", given.get("eta", 3)) or 3
    least, most = (_count(f"early_terminate.{key}", given.get(key)) for key in ("min_iter", "max_iter"))
    if least is None and most is None:
        raise SweepError("early_terminate: expected min_iter, or max_iter and s")
    if least is None:
        assert most is not None
        least = max(1, most // eta ** (_count("early_terminate.s", given.get("s")) or 1))
    if eta < 2:
        raise SweepError(f"early_terminate.eta={eta} must be at least 2")
    return Hyperband(least, most, eta)


def _count(name: str, value: Any) -> int | None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
        raise SweepError(f"{name}={value} must be an integer, at least 1")
    return value


def _command(given: Any) -> tuple[str, ...]:
    words = tuple(map(str, given)) if isinstance(given, list) else ()
    if "${args_no_hyphens}" not in words:
        raise SweepError("command: expected a list of words with ${args_no_hyphens}, which expands to key=value")
    for word in words:
        if "${" in word and word not in EXPANDED:
            raise SweepError(f"command: {word} is not supported; use {', '.join(EXPANDED[:-1])}")
    return words


def _expand(word: str, plain: Mapping[str, Any], values: Mapping[str, Value]) -> Iterator[str]:
    """Expand a word of the command as W&B's agent does."""
    if word == "${args_no_hyphens}":
        yield from (f"{key}={value}" for key, value in values.items())
    elif word == "${interpreter}":
        yield sys.executable
    elif word == "${program}":
        yield str(plain.get("program"))
    elif word != "${env}":
        yield word


def _reject_unknown(prefix: str, given: Mapping[str, Any], known: Sequence[str] | set[str]) -> None:
    for key in given:
        if key not in known:
            raise SweepError(f"{prefix}{key}: unknown key; known are {', '.join(sorted(known))}")
