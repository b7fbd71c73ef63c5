"""Plans the entries of a table: one for each cohort, method, seed and fold, with the settings of its trials."""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from data_modules.cohorts.value_tasks import VALUE_TASKS
from data_modules.errors import UserError
from data_modules.stage import digest
from mmnar_lightning.config.compose import flatten, load
from mmnar_lightning.config.experiment import SIMULATED, ConfigError, ExperimentConfig
from mmnar_lightning.config.ignored import check_ignored, unread
from mmnar_lightning.config.places import experiments_folders
from mmnar_lightning.config.yaml_files import read_yaml
from mmnar_lightning.runs import build, folders
from mmnar_lightning.runs import plan as protocols
from mmnar_lightning.runs.plan import Child
from mmnar_lightning.tables.declared import (
    NETWORKS,
    NO_NUMBERS,
    Cohort,
    Method,
    Table,
    Words,
)

RESERVED = ("experiment", "dataset", "evaluate", "resume", "run", "runs", "out", "seed", "evaluation.protocol")
"""Settings that a table sets itself."""
RUN_REPLICATES = 100
"""Of the intervals of single runs, which the table does not read; nor does it read their subgroups and figures."""
ABLATIONS = "ablations"
PROTOCOLS = ("split", "kfold", "temporal")
UNUSED = "not-read"
"""Root of a release that is not needed, because nothing is trained."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """The runs of one method on one test set: its trials, of which one reads the test rows.

    Attributes:
        cohort: name.
        method: name.
        protocol: `seeds` for one test split, else `kfold` or `temporal`.
        child: seed and fold.
        trials: settings of each, all different.
        folder: of the entry.
    """

    cohort: str
    method: str
    protocol: str
    child: Child
    trials: tuple[ExperimentConfig, ...]
    folder: Path

    @property
    def runs(self) -> list[Path]:
        """The folder of each trial's run, named by its settings."""
        return [self.folder / folders.fingerprint(config) for config in self.trials]

    @property
    def outcome(self) -> Path:
        """The file that names the chosen trial; other trials have another file."""
        return self.folder / f"outcome-{digest([run.name for run in self.runs])}.json"

    @property
    def label(self) -> str:
        """As it is printed."""
        fold = "" if self.child.fold is None else f", fold {self.child.fold}"
        return f"{self.cohort}, {self.method}, seed {self.child.seed}{fold}"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a table consists of.

    Attributes:
        table: the declaration.
        folder: of the table.
        entries: in the order in which they are run.
        bases: cohort -> its settings without a method.
        refused: cohort, method -> why its settings are refused.
        methods: names of all, in the order of the file.
    """

    table: Table
    folder: Path
    entries: list[Entry]
    bases: dict[str, ExperimentConfig]
    refused: dict[tuple[str, str], str]
    methods: list[str]


def make(table: Table, config: ExperimentConfig, words: Sequence[str]) -> Plan:
    """Plan the entries of a table.

    Args:
        table: the declaration.
        config: of the command: paths, and whether anything is run.
        words: of the command; those that are not of the table are settings of all runs.

    Returns:
        The plan.

    Raises:
        ConfigError: for a setting that a table sets itself, or that a cohort or a method of the file refuses.
    """
    shared = tuple(word for word in words if not word.startswith("table."))
    for word in (*shared, *table.words, *(word for cohort in table.cohorts.values() for word in cohort.words)):
        if word.partition("=")[0] in RESERVED:
            raise ConfigError(f"{word}: a table sets {', '.join(RESERVED)} itself")
    folder = Path(config.paths.runs).absolute() / "tables" / table.name
    methods = methods_of(table)
    if unknown := sorted({*table.trials} - {*methods, NETWORKS}):
        raise ConfigError(f"trials.{unknown[0]}: there is no such method; known are {', '.join(methods)}, {NETWORKS}")
    trained = {method: own for method, own in methods.items() if not own.mean}
    _check_means(methods, [*trained])
    entries: list[Entry] = []
    bases: dict[str, ExperimentConfig] = {}
    refused: dict[tuple[str, str], str] = {}
    for name, cohort in table.cohorts.items():
        common = _words_of(table, cohort, name, shared, trained=config.table.source == "runs")
        bases[name] = _loaded(cohort.experiment, common, ())
        for method, own in trained.items():
            try:
                trials = _trials(table, cohort, (method, own), common)
            except UserError as error:
                if method in table.methods:
                    raise ConfigError(f"{name}, {method}: {error}") from error
                refused[name, method] = str(error)
                continue
            entries += _entries(table, folder / _slug(name) / _slug(method), (name, method), trials)
    return Plan(table=table, folder=folder, entries=entries, bases=bases, refused=refused, methods=list(methods))


def _check_means(methods: dict[str, Method], trained: Sequence[str]) -> None:
    for name, method in methods.items():
        members = set(method.mean)
        if method.mean and (len(method.mean) < 2 or len(members) < len(method.mean) or not members <= {*trained}):
            raise ConfigError(
                f"methods.{name}.mean={list(method.mean)}: expected at least two different ones of {', '.join(trained)}"
            )


def methods_of(table: Table) -> dict[str, Method]:
    """All methods of a table: those that its file names, and the layers of the folders that it takes whole.

    Returns:
        Name -> method.
    """
    found = dict(table.methods)
    reference = table.methods[table.family.reference]
    for kind in table.listed:
        below = reference if kind == ABLATIONS else Method()
        for name, path in listed_layers(kind).items():
            own = Method(layers=(*below.layers, f"{kind}/{name}"), words=_without(below.words, path))
            found.setdefault(name, own)
    return found


def listed_layers(kind: str) -> dict[str, Path]:
    """The layers of a folder of experiments/, of the program and of the working directory.

    Args:
        kind: name of the folder.

    Returns:
        Name -> file, in the order of the names.
    """
    places = [folder / kind for folder in reversed(experiments_folders())]
    return dict(sorted((path.stem, path) for place in places for path in place.glob("*.yaml")))


def _trials(table: Table, cohort: Cohort, named: tuple[str, Method], common: Words) -> list[ExperimentConfig]:
    """The settings of each trial of a method; an ablation has the trials of the reference."""
    name, method = named
    experiment = ",".join([cohort.experiment, *method.layers])
    trials = table.trials.get(name)
    if trials is None and name not in table.methods and ABLATIONS in table.listed:
        layer = listed_layers(ABLATIONS).get(name)
        if layer is not None:
            given = table.trials.get(table.family.reference, table.trials.get(NETWORKS, ((),)))
            kept = (_read(experiment, common, (*method.words, *_without(trial, layer))) for trial in given)
            return [_loaded(experiment, common, words) for words in dict.fromkeys(kept)]
    if trials is None:
        config = _loaded(experiment, common, method.words)
        if NETWORKS not in table.trials or build.is_estimator(config):
            return [config]
        trials = table.trials[NETWORKS]
    return [_loaded(experiment, common, (*method.words, *trial)) for trial in trials]


def _without(words: Words, layer: Path) -> Words:
    """Words but those of settings that a layer sets: they would undo it. A word of a group becomes one of each part."""
    if not words:
        return words
    taken = flatten(yaml.safe_load(read_yaml(layer)) or {})
    return tuple(word for given in words for word in _leaves(given) if word.partition("=")[0] not in taken)


def _leaves(word: str) -> list[str]:
    key, _, text = word.partition("=")
    parsed = yaml.safe_load(text)
    if not isinstance(parsed, dict):
        return [word]
    return [f"{key}.{part}={json.dumps(own)}" for part, own in flatten(parsed).items()]


def _read(experiment: str, common: Words, words: Words) -> Words:
    """Words but those of settings that nothing reads where an ablation has taken their reader away."""
    config = load([f"experiment={experiment}", *common, *words])
    config.given = frozenset(word.partition("=")[0] for word in words)
    idle = unread(config)
    return tuple(word for word in words if word.partition("=")[0] not in idle)


def _words_of(table: Table, cohort: Cohort, name: str, shared: Words, *, trained: bool) -> Words:
    """The words that all methods on a cohort share."""
    tasks = cohort.tasks or table.tasks
    words = [*table.words, *cohort.words]
    if tasks:
        words.append(f"cohort.tasks=[{','.join(tasks)}]")
    if table.inner_folds:
        words.append(f"evaluation.inner_folds={table.inner_folds}")
    try:
        config = load([f"experiment={cohort.experiment}", *words, *shared])
    except UserError as error:
        raise ConfigError(f"cohorts.{name}: {error}") from error
    folds = table.folds if cohort.folds is None else cohort.folds
    if folds and config.evaluation.protocol in {"split", "kfold"}:
        words += ["evaluation.protocol=kfold", f"cohort.split.num_folds={folds}"]
    return (*words, *_root(cohort, name, config, trained=trained), *shared)


def _root(cohort: Cohort, name: str, config: ExperimentConfig, *, trained: bool) -> Words:
    """The word that simulates a release, or keeps a named one from being simulated."""
    if config.evaluation.protocol not in PROTOCOLS or config.rectifier.fit == "crossfit":
        raise ConfigError(
            f"cohorts.{name}: a table has runs with one test split, K folds or eras; use evaluation.protocol="
            f"{' or '.join(PROTOCOLS)}, and no rectifier.fit=crossfit"
        )
    numbers = [task for task in config.cohort.tasks if task in VALUE_TASKS]
    if numbers:
        raise ConfigError(f"cohorts.{name}: {numbers[0]} is a number, {NO_NUMBERS}")
    dataset = config.dataset
    if cohort.simulated and dataset not in SIMULATED:
        raise ConfigError(
            f"cohorts.{name}.simulated=true: {dataset} has no simulator; known are {', '.join(SIMULATED)}"
        )
    if cohort.simulated:
        return (f"paths.{dataset}_root=''",)
    if config.simulated and trained:
        raise ConfigError(
            f"cohorts.{name}: no release is named; set {dataset.upper()}_ROOT, or simulated: true in the table's file"
        )
    return (f"paths.{dataset}_root={UNUSED}",) if config.simulated else ()


def _loaded(experiment: str, common: Words, own: Words) -> ExperimentConfig:
    """The settings of all runs of a trial; only words of the method itself must be read by it."""
    config = load([f"experiment={experiment}", *common, *own])
    config.given = frozenset(word.partition("=")[0] for word in own)
    check_ignored(config)
    return config


def _entries(table: Table, folder: Path, names: tuple[str, str], trials: Sequence[ExperimentConfig]) -> Iterator[Entry]:
    """The entries of a method on a cohort."""
    protocol = protocols.protocol_of(trials[0]) or "seeds"
    for seed in table.seeds:
        for child in protocols.plan(_of_table(trials[0], seed), protocol):
            configs = {
                folders.fingerprint(own): own
                for trial in trials
                for own in [protocols.child_config(_of_table(trial, seed), protocol, child)]
            }
            yield Entry(
                cohort=names[0],
                method=names[1],
                protocol=protocol,
                child=child,
                trials=tuple(configs.values()),
                folder=folder / child.name,
            )


def _of_table(config: ExperimentConfig, seed: int) -> ExperimentConfig:
    changed: dict[str, Any] = {
        "evaluation": replace(
            config.evaluation, num_seeds=1, num_replicates=RUN_REPLICATES, subgroups=False, figures=False
        ),
        "wandb": replace(config.wandb, enabled=False),
        "trainer": replace(config.trainer, progress_bar=False),
    }
    return replace(config, seed=seed, **changed)


def _slug(name: str) -> str:
    return re.sub(r"[^\w-]+", "-", name)
