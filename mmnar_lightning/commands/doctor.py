"""`mmnar doctor`: lists the tables under a root, the missing ones and what needs them, and checks their files.

A custom cohort, or MEDS data, is validated and imported instead, and its patterns, labels and masked cells are listed.
"""

from collections.abc import Container, Sequence
from pathlib import Path

import polars as pl

from data_modules import stage
from data_modules.cohorts.build import BUILD, COHORT
from data_modules.cohorts.spec import DatabaseSpec
from data_modules.databases.registry import MEDS, database
from data_modules.raw import checksums
from data_modules.raw.errors import SourceError
from data_modules.raw.header import read_header
from data_modules.raw.locate import find_folder
from data_modules.raw.reader import Release
from mmnar_lightning.config.experiment import CUSTOM, ConfigError, ExperimentConfig
from mmnar_lightning.console import progress, say, show, warn
from mmnar_lightning.report.cohort import show_cohort
from mmnar_lightning.report.masking import masked_cells, show_labels, show_masked
from mmnar_lightning.runs import cohorts


def examine(config: ExperimentConfig) -> bool:
    """Print the tables of every project under the roots; a root that does not exist raises a `SourceError`.

    Returns:
        Whether all core tables were found, every table begins as one, and all files have the published content.

    Raises:
        ConfigError: when no root was named.
    """
    spec = database(config.dataset)
    schema = spec.schema
    if config.simulated:
        setting, variable = schema.root_setting
        raise ConfigError(f"doctor needs {variable}=/path (or {setting}), the folder to inspect")
    release = Release.parse(schema, config.paths.root(config.dataset))
    versions = release.versions()
    broken = _broken(release)
    for project in dict.fromkeys(table.project for table in schema.tables.values()):
        rows = [
            [table.path, _state(release, name, broken), _cost(name, table.core, spec)]
            for name, table in schema.tables.items()
            if table.project == project
        ]
        show(f"{project} {versions.get(project, '(not found)')}", ["table", "file", "needed for"], rows)
    for files, encoders in ((spec.image_embeddings, "release"), (spec.image_files, "timm and small")):
        if files:
            found = find_folder(release.roots, files, "files")
            say(f"files of {files}: {found or f'missing; embed.image.encoder={encoders} needs them'}")
    for problem in broken.values():
        warn(problem)
    intact = _compare(release, config.trainer.progress_bar)
    absent = release.missing(list(schema.tables))
    unavailable = [
        name
        for name, definition in spec.modalities.items()
        if not definition.parts and release.missing(definition.tables)
    ]
    missing_core = release.missing(schema.core_tables)
    say(f"{len(release.files)} tables found, {len(absent)} missing")
    if broken or not intact:
        say("no cohort should be built before these files are downloaded again")
    elif missing_core:
        say(f"no cohort can be built: the core tables {', '.join(missing_core)} are missing")
    elif unavailable:
        say(f"a cohort can be built, without the modalities {', '.join(unavailable)}")
    else:
        say("a cohort can be built with every modality")
    return intact and not broken and not missing_core


def examine_custom(config: ExperimentConfig) -> None:
    """Validate a custom cohort or MEDS data, import it as training does, and print what is in it.

    A breach of the contract raises a `ContractError`, a missing file a `SourceError`.
    """
    folder = cohorts.build(config)
    manifest, min_count = stage.verify(folder, BUILD), config.privacy.min_count
    rows, tasks = pl.read_parquet(folder / COHORT), manifest["tasks"]
    names = [entry["name"] for entry in manifest["modalities"]]
    show("modalities", ["modality", "kind", "columns"], [list(entry.values()) for entry in manifest["modalities"]])
    show_cohort(manifest, min_count)
    show_labels(rows, tasks, min_count)
    show_masked(masked_cells(rows, tasks, names, min_count))
    for line in manifest["dropped"]:
        warn(line)
    say(f"the cohort follows the contract and can be trained on: {folder}")


def _compare(release: Release, show_progress: bool) -> bool:
    """Compare the files of every release folder with its SHA256SUMS.txt; returns whether all are as published."""
    wrong: list[Path] = []
    for folder in release.folders():
        files = checksums.published(folder)
        if files is None:
            say(f"{folder}: no {checksums.SUMS}, so its files are not compared with the published ones")
            continue
        differing = checksums.differing(files, progress if show_progress else checksums.no_meter)
        for file in differing:
            warn(f"{file}: this file differs from the one that {checksums.SUMS} lists; download it again")
        say(f"{folder}: {len(files) - len(differing)} of {len(files)} files are those that {checksums.SUMS} lists")
        wrong += differing
    return not wrong


def _broken(release: Release) -> dict[str, str]:
    """Table -> what is wrong with the beginning of its file."""
    broken = {}
    for name, file in release.files.items():
        try:
            read_header(file)
        except SourceError as error:
            broken[name] = str(error)
    return broken


def _state(release: Release, name: str, broken: Container[str]) -> str:
    if not release.has(name):
        return "missing"
    return f"{release.files[name]}{' (cannot be read)' if name in broken else ''}"


def _cost(name: str, core: bool, spec: DatabaseSpec) -> str:
    if core:
        return "every cohort"
    offered = spec.modalities.items()
    needing = [modality for modality, definition in offered if name in definition.tables]
    joined = [f"part of {whole}" for whole, definition in offered if set(definition.parts) & set(needing)]
    scored = ["baselines/published_score"] if name in spec.score_tables else []
    read = [f"{modality}, if it is there" for modality, definition in offered if name in definition.optional]
    return ", ".join([*needing, *joined, *scored, *read]) or "nothing yet"


def run(config: ExperimentConfig, words: Sequence[str]) -> int:
    """Run the command; returns the exit status, 1 if a core table is missing or a file is damaged."""
    if config.dataset in {CUSTOM, MEDS}:
        examine_custom(config)
        return 0
    return 0 if examine(config) else 1
