"""Converts the dataclasses of results.py to plain values and back; no other code reads or writes results.json."""

from collections.abc import Mapping
from dataclasses import Field, fields, is_dataclass
from functools import cache
from types import NoneType, UnionType
from typing import Any, TypeVar, cast, get_args, get_origin, get_type_hints

from data_modules.errors import UserError
from mmnar_lightning.evaluation.results import SCHEMA_VERSION, Results

T = TypeVar("T")


class ResultsError(UserError):
    """A results.json is damaged, or has another schema."""


def to_json(value: Any) -> Any:
    """Convert a value to plain nested values; optional fields that are None are omitted.

    Returns:
        Nested mappings, lists and plain values.

    >>> from mmnar_lightning.evaluation.results import Intervals
    >>> to_json(Intervals(level=0.95, num_replicates=100, clusters="subjects", few=30))
    {'level': 0.95, 'num_replicates': 100, 'clusters': 'subjects', 'few': 30}
    """
    if is_dataclass(value) and not isinstance(value, type):
        return {entry.name: to_json(getattr(value, entry.name)) for entry in fields(value) if _is_written(value, entry)}
    if isinstance(value, Mapping):
        return {name: to_json(part) for name, part in value.items()}
    return [to_json(part) for part in value] if isinstance(value, list | tuple) else value


def _is_written(value: Any, entry: Field[Any]) -> bool:
    return not entry.metadata.get("optional") or getattr(value, entry.name) is not None


def from_json(kind: type[T], content: Mapping[str, Any]) -> T:
    """Convert plain nested values back to a value.

    Args:
        kind: a dataclass of results.py.
        content: result of `to_json`, or content of the file.

    Returns:
        The value.

    Raises:
        ResultsError: for another schema, and for missing or unknown fields.

    >>> from mmnar_lightning.evaluation.results import Intervals
    >>> from_json(Intervals, {"level": 0.95, "num_replicates": 100, "clusters": "subjects", "few": 30}).level
    0.95
    """
    if kind is Results:
        content = _upgraded(content)
    hints = _hints(cast(Any, kind))  # mypy takes no class of a variable type for hashable
    try:
        return kind(**{name: _read(hints[name], part) for name, part in content.items()})
    except (KeyError, TypeError) as error:
        raise ResultsError(f"results.json is damaged: {kind.__name__} cannot be read ({error})") from error


@cache
def _hints(kind: type) -> Mapping[str, Any]:
    """Field -> its type; a run has thousands of cells, and finding the types takes most of the time of one."""
    return get_type_hints(kind)


def _upgraded(content: Mapping[str, Any]) -> Mapping[str, Any]:
    """The content of results in the present schema; schemas 3 and 4 lack only fields that a run need not have."""
    version = content.get("schema_version")
    if version == 2:
        return cast(Mapping[str, Any], _from_schema_2(content))
    if version in {3, 4}:
        return {**content, "schema_version": SCHEMA_VERSION}
    if version != SCHEMA_VERSION:
        raise ResultsError(
            f"results.json has schema_version={version}, but this program reads 2 to {SCHEMA_VERSION}; evaluate the "
            "run again with the version of mmnar-lightning that wrote it"
        )
    return content


ADDED = dict.fromkeys(("observed_expected", "calibration_slope", "calibration_intercept"))
"""Metrics of a cell that schema 2 does not have."""


def _from_schema_2(content: Any) -> Any:
    """The same content in the present schema.

    Metrics that it lacks are None, a metric of the rows of all folds together is left out, and the calibration error
    remains what was written: with its bias by sampling noise.

    Returns:
        Nested mappings, lists and plain values.
    """
    if isinstance(content, list):
        return [_from_schema_2(part) for part in content]
    if not isinstance(content, Mapping):
        return content
    found = {name: _from_schema_2(part) for name, part in content.items()}
    if "num_defined" in found:
        found.pop("pooled", None)
        found["method"] = None if found.get("low") is None else "bootstrap"
    if "reliability" in found:
        found = {**ADDED, **found}
    if set(found) == {"level", "num_replicates", "clusters"}:
        found["few"] = None
    return {**found, "schema_version": SCHEMA_VERSION} if "schema_version" in found else found


def _read(hint: Any, content: Any) -> Any:
    if get_origin(hint) is UnionType or NoneType in get_args(hint):
        if content is None:
            return None
        (hint,) = (part for part in get_args(hint) if part is not NoneType)
    if is_dataclass(hint) and isinstance(hint, type):
        return from_json(hint, content)
    if get_origin(hint) is dict:
        return {name: _read(get_args(hint)[1], part) for name, part in content.items()}
    if get_origin(hint) is list:
        return [_read(get_args(hint)[0], part) for part in content]
    return content
