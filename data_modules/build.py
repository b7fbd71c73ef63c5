"""The cohort stage: a raw release becomes a folder with rows, labels, presence, splits and inputs."""

from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from data_modules import stage
from data_modules.cohorts import columns, presence, splits
from data_modules.cohorts.config import CohortConfig
from data_modules.cohorts.mimic_iv import (
    CohortRows,
    MIMICCohortConfig,
    build_rows,
    read_admissions,
    read_stays,
)
from data_modules.features import store
from data_modules.features.mimic_iv import MIMIC_MODALITIES, note_presence
from data_modules.features.modality import Block, Definition, Sources
from data_modules.sources.errors import SourceError
from data_modules.sources.reader import Release
from data_modules.vocabulary import Modality

BUILDER_VERSION = 2
"""Raised whenever the same settings and files would give another cohort."""

COHORT, ATTRITION, MODALITIES = "cohort.parquet", "attrition.csv", "modalities"


@dataclass(frozen=True)
class Plan:
    """Which modalities can be built, and which parts are dropped because a table is missing.

    Attributes:
        parts: modality -> names of the definitions whose columns it joins.
        dropped: lines for people: what is dropped, for want of which table.
    """

    parts: dict[str, list[str]]
    dropped: list[str]

    @property
    def tables(self) -> set[str]:
        """Every raw table that will be read."""
        names = {name for parts in self.parts.values() for name in parts}
        return {table for name in names for table in MIMIC_MODALITIES[name].tables}


def plan(release: Release, config: CohortConfig) -> Plan:
    """Compare the modalities that are asked for with the tables that are there.

    Raises:
        ValueError: for a modality that the source does not offer, or when none is left.
        SourceError: for a missing core table, or any missing table under `cohort.missing_tables=error`.
    """
    release.require(release.source.core_tables)
    parts: dict[str, list[str]] = {}
    dropped: list[str] = []
    for name in config.modalities:
        if name not in MIMIC_MODALITIES:
            known = ", ".join(MIMIC_MODALITIES)
            raise ValueError(f"cohort.modalities: unknown modality {name!r}; {release.source.name} offers {known}")
        kept = []
        for part in MIMIC_MODALITIES[name].parts or (name,):
            missing = release.missing(MIMIC_MODALITIES[part].tables)
            if not missing:
                kept.append(part)
                continue
            if config.missing_tables == "error":
                release.require(missing)
            what = name if part == name else f"{name}/{part}"
            paths = ", ".join(f"{release.source.tables[table].path}.csv.gz" for table in missing)
            dropped.append(f"{what} is dropped: {paths} is missing")
        if kept:
            parts[name] = kept
    if not parts:
        raise ValueError(f"cohort.modalities={config.modalities}: none is left ({'; '.join(dropped) or 'none asked'})")
    return Plan(parts, dropped)


def cohort_folder(release: Release, config: CohortConfig, data: Path) -> Path:
    """Where the cohort of these settings and files lies, built or not."""
    return _folder(config, _identity(release, config), data)


def _folder(config: CohortConfig, identity: dict[str, Any], data: Path) -> Path:
    return data / "cohorts" / f"{config.name}-{stage.digest(identity)}"


def build_cohort(release: Release, config: MIMICCohortConfig, data: Path) -> Path:
    """Build a cohort unless it is there.

    Args:
        release: the raw tables.
        config: which rows, outcomes and modalities.
        data: `paths.data`.

    Returns:
        The cohort's folder.

    Raises:
        SourceError: when a raw file is missing or broken: which file and column, and how to mend it.
        StageError: when the folder cannot be written.
    """
    planned = plan(release, config)
    identity = _identity(release, config)
    target = _folder(config, identity, data)

    def write(folder: Path) -> None:
        with release.explained():
            _write(folder, release, config, planned, identity)

    stage.run_stage(target, write, "paths.data")
    return target


def _identity(release: Release, config: CohortConfig) -> dict[str, Any]:
    tables = [*release.source.core_tables, *plan(release, config).tables]
    return {
        "builder": BUILDER_VERSION,
        "source": release.source.name,
        "config": asdict(config),
        "files": release.fingerprints(tables),
    }


def _write(folder: Path, release: Release, config: MIMICCohortConfig, planned: Plan, identity: dict[str, Any]) -> None:
    built = build_rows(release, config)
    rows = built.rows.with_columns(pl.col("subject_id").cast(pl.String).alias("subject_text"))
    drawn = splits.draw(rows["subject_text"], config.split)
    rows = rows.join(drawn, left_on="subject_text", right_on="subject_id", maintain_order="left")
    scratch = folder / ".scratch"
    scratch.mkdir()
    sources = Sources(
        release=release,
        rows=rows.drop("subject_text"),
        tables={"admissions": read_admissions(release), "icustays": read_stays(release)},
        train=rows.filter(pl.col("split") == "train").select("row_id", "subject_id"),
        scratch=scratch,
        min_vocabulary_subjects=config.min_vocabulary_subjects,
        max_vocabulary=config.max_vocabulary,
    )
    modalities = []
    for name, parts in planned.parts.items():
        modality, present = _write_modality(folder / MODALITIES / name, name, parts, sources)
        modalities.append(modality)
        rows = presence.add_presence(rows, {name: pl.Series(present)})
    scratch.rmdir()
    keyed = rows.with_columns(subject_id="subject_text", admission_id="hadm_id")
    cohort = columns.arrange(keyed, config.tasks, [modality.name for modality in modalities])
    columns.validate(cohort, folder)
    cohort.write_parquet(folder / COHORT)
    built.attrition.write_csv(folder / ATTRITION)
    stage.write_json(folder / stage.MANIFEST, _manifest(sources, identity, planned, built, cohort, modalities))


def _write_modality(folder: Path, name: str, parts: list[str], sources: Sources) -> tuple[Modality, store.BoolArray]:
    """Write what a modality needs into its folder; returns it with (N,) presence."""
    definition = MIMIC_MODALITIES[name]
    num_rows = sources.rows.height
    if definition.files is not None:
        found = definition.files(sources, folder)
        present = np.zeros(num_rows, dtype=np.bool_)
        present[found.to_numpy()] = True
        return Modality(name=name, kind=definition.kind), present
    prepared = [_block(MIMIC_MODALITIES[part], sources) for part in parts]
    names = [column for block in prepared for column in block.columns]
    values = store.create(folder, num_rows, names)
    present = np.zeros(num_rows, dtype=np.bool_)
    start = 0
    for block in prepared:
        stop = start + len(block.columns)
        present |= block.write(values[:, start:stop])
        start = stop
    train = np.zeros(num_rows, dtype=np.bool_)
    train[sources.train["row_id"].to_numpy()] = True
    store.fit_statistics(values, present & train).save(folder)
    return Modality(name=name, kind=definition.kind, width=len(names)), present


def _block(definition: Definition, sources: Sources) -> Block:
    assert definition.block is not None, "a table modality has a block"
    return definition.block(sources)


def _manifest(
    sources: Sources,
    identity: dict[str, Any],
    planned: Plan,
    built: CohortRows,
    cohort: pl.DataFrame,
    modalities: list[Modality],
) -> dict[str, Any]:
    """What a reader must know of a cohort; plain values."""
    names = [modality.name for modality in modalities]
    notes = {"discharge_note stored by": note_presence(sources)} if "discharge_note" in names else {}
    declared = {name: MIMIC_MODALITIES[name].declares for name in names if MIMIC_MODALITIES[name].declares}
    return {
        "source": identity["source"],
        "simulated": False,
        "versions": sources.release.versions(),
        "files": identity["files"],
        "config": identity["config"],
        "config_hash": stage.digest(identity["config"]),
        "fingerprint": stage.digest(identity),
        "rows": cohort.height,
        "subjects": cohort["subject_id"].n_unique(),
        "attrition": built.attrition.to_dicts(),
        "modalities": [modality.to_dict() for modality in modalities],
        "dropped": planned.dropped,
        "declared": declared,
        "tasks": identity["config"]["tasks"],
        "patterns": presence.count_patterns(cohort, names),
        "prevalence": presence.prevalence(cohort, identity["config"]["tasks"]),
        "counts": {**built.notes, **notes},
        "packages": {name: version(name) for name in ("mmnar-lightning", "polars", "numpy")},
    }


__all__ = [
    "ATTRITION",
    "COHORT",
    "MODALITIES",
    "Plan",
    "SourceError",
    "build_cohort",
    "cohort_folder",
    "plan",
]
