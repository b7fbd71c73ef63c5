"""A sweep's YAML file, in W&B's own format, read and checked."""

import itertools
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]  # its types are a package that nothing else needs

from data_modules.errors import UserError

KNOWN = {
    "name", "description", "project", "entity", "program", "command",
    "method", "metric", "parameters", "early_terminate", "run_cap",
}  # fmt: skip
"""Keys of a file, as W&B names them."""
METHODS = ("grid", "random", "bayes")
RANGES = ("uniform", "log_uniform_values", "q_uniform", "int_uniform")
"""Distributions between `min` and `max` that both searches know."""
Value = str | int | float | bool


SWEEP_FILE = "sweep.yaml"
"""In the folder of a sweep: the file that describes it."""


class SweepError(UserError):
    """A sweep's file makes no sense, or uses what only one of the two searches knows."""


@dataclass(frozen=True)
class Parameter:
    """One setting that trials differ in.

    Attributes:
        key: full key of the setting.
        values: what it may be; empty for a range.
        distribution: of a range, one of `RANGES`; `categorical` otherwise.
        low: smallest value of a range.
        high: largest one.
        step: distance of neighbours (q_uniform).
    """

    key: str
    values: tuple[Value, ...] = ()
    distribution: str = "categorical"
    low: float = 0.0
    high: float = 0.0
    step: float | None = None

    @property
    def extremes(self) -> tuple[Value, ...]:
        """Values that must all be legal for the whole space to be."""
        return self.values or (self.low, self.high)


@dataclass(frozen=True)
class Hyperband:
    """When a trial is stopped early: after min_iter, min_iter·eta, ... epochs if it is among the worse."""

    min_iter: int
    max_iter: int | None
    eta: int


@dataclass(frozen=True)
class Sweep:
    """What a file says.

    Attributes:
        plain: the file itself, as W&B gets it.
        method: grid, random or bayes.
        metric: logged key that trials are compared by.
        maximise: whether more of it is better.
        parameters: what trials differ in, in the order of the file.
        hyperband: early termination, if any.
        command: words that start a trial, with W&B's `${...}`.
        run_cap: most trials, if the file says so.
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
        """Every combination, the last parameter changing fastest."""
        keys = [parameter.key for parameter in self.parameters]
        combinations = itertools.product(*(parameter.values for parameter in self.parameters))
        return [dict(zip(keys, values, strict=True)) for values in combinations]

    def words(self, values: Mapping[str, Value]) -> list[str]:
        """The command of one trial, as W&B's agent would write it."""
        found: list[str] = []
        for word in self.command:
            found.extend(_expand(word, self.plain, values))
        return found

    def settings(self) -> list[str]:
        """The `key=value` words that all trials share."""
        return [word for word in self.command if re.match(r"[a-z_.]+=", word)]


def read(path: Path) -> Sweep:
    """Read a file.

    Raises:
        SweepError: naming the key of the file, what was given and what was expected.
    """
    try:
        plain = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SweepError(f"sweep.file={path}: cannot be read ({error.strerror})") from error
    except yaml.YAMLError as error:
        raise SweepError(f"{path}: this file is not readable YAML ({' '.join(str(error).split())})") from error
    try:
        return parse(plain)
    except SweepError as error:
        raise SweepError(f"{path}: {error}") from None


def parse(plain: Any) -> Sweep:
    """Check the content of a file.

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
        raise SweepError("expected keys and values, as W&B's sweep format has them")
    _refuse_others("", plain, KNOWN)
    method = plain.get("method")
    if method not in METHODS:
        raise SweepError(f"method={method}: expected one of {', '.join(METHODS)}")
    metric = plain.get("metric") or {}
    if not metric.get("name") or metric.get("goal") not in {"maximize", "minimize"}:
        raise SweepError(f"metric={metric}: expected a name, and goal: maximize or minimize")
    given = plain.get("parameters")
    if not isinstance(given, dict) or not given:
        raise SweepError("parameters: expected at least one setting, for example optim.lr")
    parameters = tuple(_parameter(str(key), told) for key, told in given.items())
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


def _parameter(key: str, told: Any) -> Parameter:
    name = f"parameters.{key}"
    if not isinstance(told, dict):
        raise SweepError(f"{name}={told}: expected value, values, or min and max")
    if "parameters" in told:
        raise SweepError(f"{name}: nested parameters are not known; write the full key, {key}.<setting>")
    _refuse_others(f"{name}.", told, {"value", "values", "min", "max", "q", "distribution"})
    if "value" in told or "values" in told:
        return Parameter(key, tuple(_value(name, value) for value in told.get("values", [told.get("value")])))
    return _range(key, name, told)


def _value(name: str, value: Any) -> Value:
    if not isinstance(value, Value):
        raise SweepError(f"{name}: {value!r} must be a number, a word, true or false; write null and lists as text")
    return value


def _range(key: str, name: str, told: Mapping[str, Any]) -> Parameter:
    low, high = (_number(name, told.get(bound)) for bound in ("min", "max"))
    step = None if "q" not in told else _number(name, told["q"])
    whole = isinstance(low, int) and isinstance(high, int)
    distribution = told.get("distribution", "int_uniform" if whole else "uniform")
    if distribution not in RANGES:
        raise SweepError(f"{name}.distribution={distribution}: expected one of {', '.join(RANGES)}, or values")
    if low >= high or (distribution == "log_uniform_values" and low <= 0):
        raise SweepError(f"{name}: min={low} must be below max={high}, and above 0 for log_uniform_values")
    if distribution == "int_uniform" and not whole:
        raise SweepError(f"{name}: int_uniform needs whole numbers, not {low} and {high}")
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


def _hyperband(told: Any) -> Hyperband | None:
    if told is None:
        return None
    if not isinstance(told, dict) or told.get("type") != "hyperband":
        raise SweepError(f"early_terminate={told}: expected type: hyperband")
    _refuse_others("early_terminate.", told, {"type", "min_iter", "max_iter", "s", "eta", "strict"})
    eta = _count("early_terminate.eta", told.get("eta", 3)) or 3
    least, most = (_count(f"early_terminate.{key}", told.get(key)) for key in ("min_iter", "max_iter"))
    if least is None and most is None:
        raise SweepError("early_terminate: expected min_iter, or max_iter and s")
    if least is None:
        assert most is not None
        least = max(1, most // eta ** (_count("early_terminate.s", told.get("s")) or 1))
    if eta < 2:
        raise SweepError(f"early_terminate.eta={eta} must be at least 2")
    return Hyperband(least, most, eta)


def _count(name: str, value: Any) -> int | None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
        raise SweepError(f"{name}={value} must be a whole number, at least 1")
    return value


def _command(told: Any) -> tuple[str, ...]:
    words = tuple(map(str, told)) if isinstance(told, list) else ()
    if "${args_no_hyphens}" not in words:
        raise SweepError("command: expected a list of words with ${args_no_hyphens}, which gives key=value")
    return words


def _expand(word: str, plain: Mapping[str, Any], values: Mapping[str, Value]) -> Iterator[str]:
    """What W&B's agent puts in the place of a word."""
    if word == "${args_no_hyphens}":
        yield from (f"{key}={value}" for key, value in values.items())
    elif word == "${interpreter}":
        yield sys.executable
    elif word == "${program}":
        yield str(plain.get("program"))
    elif word.startswith("${") and word != "${env}":
        raise SweepError(f"command: {word} is not known here; known are ${{env}}, ${{interpreter}}, ${{program}}")
    elif word != "${env}":
        yield word


def _refuse_others(prefix: str, given: Mapping[str, Any], known: Sequence[str] | set[str]) -> None:
    for key in given:
        if key not in known:
            raise SweepError(f"{prefix}{key}: unknown key; known are {', '.join(sorted(known))}")
