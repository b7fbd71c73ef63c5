"""Reads and validates a table's YAML file."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

import yaml

from data_modules.errors import UserError
from data_modules.vocabulary import check_name
from mmnar_lightning.config.places import experiment_file, experiments_folders
from mmnar_lightning.config.yaml_files import read_yaml

FOLDER = "tables"
LISTED = ("baselines", "ablations")
"""Folders of layers that `methods` may take whole, with the value `all`."""
NETWORKS = "networks"
"""Key of `trials` for all networks without trials of their own."""
NO_NUMBERS = "and a table scores outcomes that are yes or no; train its methods one by one, and `mmnar compare` them"
"""Why a table has no tasks that are numbers, and what to do."""
Together = Literal["table", "cohort", "task"]
Words = tuple[str, ...]
_NAME = re.compile(r"\w[\w ,.-]*")
Declared = TypeVar("Declared")


class TableError(UserError):
    """A table's file is invalid, or its table cannot be made."""


@dataclass(frozen=True, kw_only=True)
class Cohort:
    """Rows that methods are compared on.

    Attributes:
        experiment: files of experiments/, separated by commas, that define it; a protocol among them is kept.
        simulated: True simulates a release; False needs a named one, or a cohort of the user's.
        words: settings of all runs on it.
        tasks: outcomes; empty takes those of the table.
        folds: as of the table; None takes that.
    """

    experiment: str
    simulated: bool = False
    words: Words = ()
    tasks: Words = ()
    folds: int | None = None


@dataclass(frozen=True, kw_only=True)
class Method:
    """Something that is trained, or the mean of methods that are.

    Attributes:
        layers: files of experiments/ that are laid over a cohort's.
        words: settings of all its runs.
        mean: names of methods; their mean logit is the prediction, and nothing is trained.
    """

    layers: Words = ()
    words: Words = ()
    mean: Words = ()


@dataclass(frozen=True, kw_only=True)
class Family:
    """Which comparisons are corrected together.

    Attributes:
        reference: the method that all others are compared with.
        together: all comparisons of the table, those on one cohort, or those of one task on one cohort.
    """

    reference: str
    together: Together = "table"


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table's file.

    Attributes:
        name: of the file.
        cohorts: by name.
        methods: those that are named.
        listed: folders whose layers are methods too, in the order of the file.
        family: of tests.
        trials: method, or `networks` -> the words of each trial.
        tasks: outcomes; empty takes those of each experiment.
        seeds: of the runs.
        folds: K test folds of subjects, with a run for each; 0 uses the test split.
        inner_folds: folds within train and val, whose held-out rows choose.
        words: settings of all runs.
    """

    name: str
    cohorts: dict[str, Cohort]
    methods: dict[str, Method]
    family: Family
    listed: Words = ()
    trials: dict[str, tuple[Words, ...]] = field(default_factory=dict)
    tasks: Words = ()
    seeds: tuple[int, ...] = (0,)
    folds: int = 0
    inner_folds: int = 0
    words: Words = ()


def find(name: str) -> Path:
    """Find a table's file: of the working directory, the checkout or the installed package, or a path.

    Args:
        name: of a file in experiments/tables, or a path that ends with .yaml.

    Returns:
        The file.

    Raises:
        TableError: with the known names.
    """
    if not name:
        raise TableError("table needs TABLE=quick (or table.name=), a name in experiments/tables or a YAML file")
    file = Path(name) if name.endswith((".yaml", ".yml")) else experiment_file(f"{FOLDER}/{name}.yaml")
    if file is not None and file.is_file():
        return file
    known = sorted({path.stem for place in experiments_folders() for path in (place / FOLDER).glob("*.yaml")})
    raise TableError(f"table.name={name}: there is no such file; known are {', '.join(known)}")


def read(path: Path) -> Table:
    """Read a table's file.

    Args:
        path: the YAML file.

    Returns:
        The validated table.

    Raises:
        TableError: naming the file, the key and what is expected.
    """
    check_name("table.name", path.stem)
    try:
        plain = yaml.safe_load(read_yaml(path))
    except OSError as error:
        raise TableError(f"table.name={path}: cannot be read ({error.strerror})") from error
    except UserError as error:
        raise TableError(f"table.name={error}") from None
    try:
        return parse(plain, path.stem)
    except TableError as error:
        raise TableError(f"{path}: {error}") from None


def parse(plain: Any, name: str) -> Table:
    """Parse the content of a table's file.

    Args:
        plain: as YAML gives it.
        name: of the table.

    Returns:
        The validated table.

    Raises:
        TableError: for an unknown or missing key, or a value of another kind.

    >>> plain = {"cohorts": {"own": "custom"}, "methods": {"trees": "baselines/boosted_trees"}}
    >>> table = parse({**plain, "family": {"reference": "trees"}}, "small")
    >>> table.methods["trees"].layers, table.cohorts["own"].experiment
    (('baselines/boosted_trees',), 'custom')
    """
    content = dict(_mapping(plain, "the file"))
    declared = _mapping(content.pop("methods", None), "methods")
    listed = [key for key in LISTED if key in declared]
    for key in listed:
        if declared[key] != "all":
            raise TableError(f"methods.{key}={declared[key]}: expected all, or name single layers as methods")
    table = _build(
        Table,
        {
            **content,
            "name": name,
            "cohorts": _named(content.get("cohorts"), "cohorts", Cohort, "experiment"),
            "methods": _named(
                {key: own for key, own in declared.items() if key not in listed}, "methods", Method, "layers"
            ),
            "listed": listed,
            "family": _build(Family, _mapping(content.get("family"), "family"), "family"),
            "trials": _trials(content.get("trials", {})),
        },
        "",
    )
    _check(table)
    return table


def _check(table: Table) -> None:
    if table.family.reference not in table.methods:
        raise TableError(
            f"family.reference={table.family.reference}: expected one of the methods that the file names, "
            f"{', '.join(table.methods)}"
        )
    for name, method in table.methods.items():
        if method.mean and (method.layers or method.words or name == table.family.reference or name in table.trials):
            raise TableError(f"methods.{name}.mean: it trains nothing, and has no layers, words, trials or ablations")
    if table.family.together not in get_args(Together):
        raise TableError(f"family.together={table.family.together}: expected one of {', '.join(get_args(Together))}")
    if not table.cohorts:
        raise TableError("cohorts: expected at least one")
    if not table.seeds or len(set(table.seeds)) < len(table.seeds):
        raise TableError(f"seeds={list(table.seeds)}: expected different numbers, at least one")
    for key, folds in {
        "folds": table.folds,
        **{f"cohorts.{name}.folds": o.folds for name, o in _folded(table)},
    }.items():
        if folds is None or folds == 1 or folds < 0:
            raise TableError(f"{key}={folds}: expected 2 or more, or 0 for one test split")
    if any(len(trials) > 1 for trials in table.trials.values()) and table.inner_folds < 2:
        raise TableError(
            f"inner_folds={table.inner_folds}: a trial is chosen on the held-out rows of inner folds; use 2 or more"
        )


def _folded(table: Table) -> list[tuple[str, Cohort]]:
    return [(name, cohort) for name, cohort in table.cohorts.items() if cohort.folds is not None]


def _named(plain: Any, key: str, kind: type[Declared], short: str) -> dict[str, Declared]:
    """Named entries; a text is the value of their one necessary field."""
    found = {}
    for name, own in _mapping(plain, key).items():
        if not _NAME.fullmatch(str(name)):
            raise TableError(f"{key}.{name}: expected a name of letters, digits, spaces, commas, points and hyphens")
        content = {short: own} if isinstance(own, str) else _mapping(own, f"{key}.{name}")
        found[str(name)] = _build(kind, content, f"{key}.{name}")
    return found


def _trials(plain: Any) -> dict[str, tuple[Words, ...]]:
    found = {}
    for name, trials in _mapping(plain, "trials").items():
        if not isinstance(trials, Sequence) or isinstance(trials, str) or not trials:
            raise TableError(
                f"trials.{name}: expected a list with the words of each trial, for example [[], [optim.lr=1e-3]]"
            )
        found[str(name)] = tuple(_words(trial, f"trials.{name}") for trial in trials)
    return found


def _mapping(plain: Any, key: str) -> Mapping[str, Any]:
    if not isinstance(plain, Mapping):
        raise TableError(f"{key}: expected keys and values")
    return plain


def _words(plain: Any, key: str) -> Words:
    found = [plain] if isinstance(plain, str) else plain
    if not isinstance(found, Sequence) or not all(isinstance(word, str) for word in found):
        raise TableError(f"{key}: expected a list of texts")
    return tuple(found)


def _build(kind: type[Declared], content: Mapping[str, Any], key: str) -> Declared:
    """An instance of a declared class, whose fields are checked by their annotations."""
    known = {entry.name: entry for entry in fields(kind)}  # type: ignore[arg-type]  # all are dataclasses
    where = f"{key}." if key else ""
    if unknown := [name for name in content if name not in known]:
        raise TableError(f"{where}{unknown[0]}: unknown key; known are {', '.join(known)}")
    checked: dict[str, Any] = {}
    for name, value in content.items():
        annotation = known[name].type
        if annotation in (Words, "Words"):
            checked[name] = _words(value, f"{where}{name}")
        elif annotation == tuple[int, ...]:
            checked[name] = tuple(_number(entry, f"{where}{name}") for entry in _list(value, f"{where}{name}"))
        elif annotation in (int, int | None):
            checked[name] = _number(value, f"{where}{name}")
        elif annotation is bool and not isinstance(value, bool):
            raise TableError(f"{where}{name}={value}: expected true or false")
        else:
            checked[name] = value
    try:
        return kind(**checked)
    except TypeError:
        needed = ", ".join(name for name in known if name not in content)
        raise TableError(f"{key or 'the file'}: a key is missing, of {needed}") from None


def _list(value: Any, key: str) -> Sequence[Any]:
    if not isinstance(value, list):
        raise TableError(f"{key}={value}: expected a list")
    return value


def _number(value: Any, key: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TableError(f"{key}={value}: expected a whole number")
    return value
