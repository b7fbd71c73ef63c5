"""Builds cohorts from MEDS data: rows from its labels, inputs from its events."""

import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import polars as pl

from data_modules import stage
from data_modules.cohorts import columns, presence
from data_modules.cohorts.build import ATTRITION, COHORT, MODALITIES
from data_modules.cohorts.fitting import Words
from data_modules.cohorts.manifest import manifest
from data_modules.databases.meds import cohort, events, modalities, tables
from data_modules.databases.meds.concepts import Group, read_mapping
from data_modules.databases.meds.config import MEDSCohortConfig
from data_modules.errors import UserError
from data_modules.raw.errors import SourceError
from data_modules.raw.fingerprint import fingerprint

IMPORTER_VERSION = 1
SOURCE = "meds"
PATHS = ("labels", "mapping")
"""Settings that name files, whose content decides the cohort."""


def build_meds(root: Path, config: MEDSCohortConfig, data: Path, words: Words | None = None) -> Path:
    """Build a cohort of MEDS data unless it exists.

    Labels that contradict each other are a `ContractError`.

    Args:
        root: folder with `data` and `metadata`.
        config: labels, mapping and splits.
        data: `paths.data`.
        words: which codes become columns; None = those of ten train subjects.

    Returns:
        The cohort folder.

    Raises:
        UserError: if labels or mapping are not named.
        SourceError: if a file is missing or malformed.
    """
    for key in PATHS:
        if not getattr(config, key):
            raise UserError(f"dataset=meds needs cohort.{key}=/path, as docs/meds.md describes")
    if not root.is_dir():
        raise SourceError(root, "this folder does not exist", "set MEDS_ROOT, or paths.roots.meds, to MEDS data")
    words = words or Words()
    groups = read_mapping(Path(config.mapping), config.modalities)
    found = cohort.choose(tables.label_files(Path(config.labels)), config.tasks, Path(config.labels))
    identity = _identity(root, config, groups, found, words)

    def write(folder: Path) -> None:
        _write(folder, root, config, groups, found, identity, words)

    target = data / "cohorts" / f"{config.name}-{stage.digest(identity)}"
    stage.run_stage(target, write, "paths.data")
    return target


def _identity(root: Path, config: MEDSCohortConfig, groups: list[Group], labels: Any, words: Words) -> dict[str, Any]:
    """What decides the bytes of the cohort."""
    settings = {key: value for key, value in asdict(config).items() if key not in PATHS}
    files = {str(path.relative_to(root)): path for path in tables.event_files(root)}
    files |= {tables.SPLITS: root / tables.SPLITS} if config.given_splits else {}
    files |= {
        f"labels/{task}/{path.name}/{place}": path for task, own in labels.items() for place, path in enumerate(own)
    }
    return {
        "importer": IMPORTER_VERSION,
        "source": SOURCE,
        "config": settings,
        "mapping": [group.to_dict() for group in groups],
        "words": words.identity,
        "files": {name: fingerprint(path) for name, path in files.items()},
    }


def _write(
    folder: Path,
    root: Path,
    config: MEDSCohortConfig,
    groups: list[Group],
    labels: Any,
    identity: dict[str, Any],
    words: Words,
) -> None:
    tasks = list(labels)
    rows = cohort.assign(cohort.read_rows(labels), root, config)
    scratch = folder / ".scratch"
    scratch.mkdir()
    paths = events.keep(tables.event_files(root), groups, rows, scratch)
    written, lines = [], []
    for group in groups:
        place = folder / MODALITIES / group.name
        found = modalities.write(group, paths[group.name], rows, words, place)
        lines += found.lines
        if found.modality is None:
            shutil.rmtree(place, ignore_errors=True)
            continue
        written.append(found.modality)
        rows = presence.add_presence(rows, {group.name: pl.Series(found.present)})
    shutil.rmtree(scratch)
    if not written:
        raise UserError(f"cohort.mapping={config.mapping}: no modality is left ({'; '.join(lines)})")
    names = [modality.name for modality in written]
    table = cohort.finish(rows, tasks, names)
    columns.validate(table, folder)
    table.write_parquet(folder / COHORT)
    attrition = [{"rule": "labelled", "rows": table.height, "subjects": table["subject_id"].n_unique()}]
    pl.DataFrame(attrition).write_csv(folder / ATTRITION)
    content = manifest(identity, table, written, tasks, source=SOURCE, attrition=attrition, dropped=lines)
    stage.write_json(folder / stage.MANIFEST, content)
