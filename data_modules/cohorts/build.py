"""The cohort stage: builds a folder with rows, labels, presence, splits and inputs from a raw release."""

import logging
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from data_modules import stage
from data_modules.cohorts import columns, presence, pretraining, published, splits
from data_modules.cohorts.config import ReleaseCohortConfig
from data_modules.cohorts.manifest import manifest
from data_modules.cohorts.spec import DatabaseSpec
from data_modules.cohorts.subgroups import SUBGROUPS
from data_modules.errors import UserError
from data_modules.features import store
from data_modules.features.modality import BuildContext, ColumnBlock, ModalitySpec
from data_modules.raw import checksums
from data_modules.raw.reader import Release
from data_modules.vocabulary import Modality

BUILDER_VERSION = 6
"""Increased when the same settings and files give another cohort."""

BUILD = "mmnar cohort"
"""The command that builds a cohort again."""
COHORT, ATTRITION, MODALITIES = "cohort.parquet", "attrition.csv", "modalities"
VERIFIED = "verified"
"""Key of the manifest; null unless the raw tables were compared with SHA256SUMS.txt."""
MISSING = "is missing"
"""How a line about a part that is dropped for want of a table ends."""


@dataclass(frozen=True)
class Plan:
    """The modalities that can be built, and the parts dropped because a table is missing.

    Attributes:
        parts: modality -> names of the modalities whose columns it joins.
        dropped: lines for the user: a dropped part and the missing table.
        tables: raw tables to read, besides the core tables.
    """

    parts: dict[str, list[str]]
    dropped: list[str]
    tables: set[str]


def check_modalities(spec: DatabaseSpec, names: Sequence[str]) -> None:
    """Refuse modalities that a database does not offer; needs no release.

    Raises:
        UserError: naming the first one, and those that there are.
    """
    for name in names:
        if name not in spec.modalities:
            known = ", ".join(spec.modalities)
            raise UserError(f"cohort.modalities: unknown modality {name!r}; {spec.schema.name} offers {known}")


def plan(spec: DatabaseSpec, release: Release, config: ReleaseCohortConfig) -> Plan:
    """Match the configured modalities with the tables of a release.

    A missing table of rows or labels, or any missing table under `cohort.missing_tables=error`, is a `SourceError`.

    Returns:
        The plan of the build.

    Raises:
        UserError: if the database does not offer a modality, or none is left.
    """
    release.require([*release.schema.core_tables, *spec.label_tables(config.tasks)])
    check_modalities(spec, config.modalities)
    offered = spec.modalities
    parts: dict[str, list[str]] = {}
    dropped: list[str] = []
    for name in config.modalities:
        kept = []
        for part in offered[name].parts or (name,):
            missing = release.missing(offered[part].tables)
            label = name if part == name else f"{name}/{part}"
            if not missing:
                kept.append(part)
                dropped += _without(label, offered[part], release)
                continue
            if config.missing_tables == "error":
                release.require(missing)
            paths = ", ".join(f"{release.schema.tables[table].path}.csv.gz" for table in missing)
            dropped.append(f"{label} is dropped: {paths} {MISSING}")
        if kept:
            parts[name] = kept
    unscored = release.missing(spec.score_tables)
    if unscored:
        paths = ", ".join(f"{release.schema.tables[table].path}.csv.gz" for table in unscored)
        dropped.append(f"published predictions (baselines/published_score) are dropped: {paths} {MISSING}")
    if not parts:
        raise UserError(f"cohort.modalities={config.modalities}: none is left ({'; '.join(dropped) or 'none listed'})")
    read = {table for kept in parts.values() for part in kept for table in _tables_of(offered[part], release)}
    return Plan(parts, dropped, read)


def _without(label: str, modality: ModalitySpec, release: Release) -> list[str]:
    """Lines on the optional tables of a modality that are missing."""
    paths = {table: f"{release.schema.tables[table].path}.csv.gz" for table in release.missing(list(modality.optional))}
    return [f"{label}: {path} is missing, so {modality.optional[table]}" for table, path in paths.items()]


def _tables_of(modality: ModalitySpec, release: Release) -> list[str]:
    """The tables that a modality reads from a release."""
    return [*modality.tables, *(name for name in modality.optional if release.has(name))]


def _folder(config: ReleaseCohortConfig, identity: dict[str, Any], data: Path) -> Path:
    return data / "cohorts" / f"{config.name}-{stage.digest(identity)}"


def build_cohort(
    spec: DatabaseSpec,
    release: Release,
    config: ReleaseCohortConfig,
    data: Path,
    meter: checksums.Meter = checksums.no_meter,
    vocabularies: Mapping[str, Sequence[str]] | None = None,
) -> Path:
    """Build a cohort unless it exists.

    A missing or malformed raw file is a `SourceError`, a folder that cannot be written a `StageError`.

    Args:
        spec: the database.
        release: its raw tables.
        config: rows, outcomes and modalities of the cohort.
        data: `paths.data`.
        meter: shows the progress of `cohort.verify`.
        vocabularies: prefix (`drug`, `culture`, ...) -> words to use instead of those of its train rows, for a model of
            another cohort; None fits all.

    Returns:
        The cohort folder.
    """
    planned = plan(spec, release, config)
    identity = _identity(spec, release, config, vocabularies or {})
    target = _folder(config, identity, data)
    verified = None
    if config.verify and not _is_verified(target):
        verified = checksums.verify(release, tables_read(spec, release, config), meter)
        if verified["unlisted"]:
            unlisted = ", ".join(verified["unlisted"])
            logging.getLogger(__name__).warning("cohort.verify: %s does not list %s", checksums.SUMS, unlisted)

    def write(folder: Path) -> None:
        with release.explained():
            _write(folder, spec, release, config, planned, identity, verified, vocabularies or {})

    if not stage.run_stage(target, write, "paths.data") and verified is not None:
        _record(target, verified)
    return target


def _is_verified(target: Path) -> bool:
    """Whether a cohort exists whose raw tables were verified."""
    return stage.is_finished(target) and bool(stage.read_manifest(target, BUILD).get(VERIFIED))


def _record(target: Path, verified: dict[str, list[str]]) -> None:
    """Record in the manifest of an existing cohort that its raw tables were verified now."""
    with suppress(OSError):  # a shared cohort may be read only: its tables are verified again at the next start
        stage.amend(target, {VERIFIED: verified})


def _identity(
    spec: DatabaseSpec, release: Release, config: ReleaseCohortConfig, vocabularies: Mapping[str, Sequence[str]]
) -> dict[str, Any]:
    settings = asdict(config)
    del settings["verify"]  # a verified cohort has the same bytes
    if not config.pretraining_rows:
        del settings["pretraining_rows"]  # cohorts that were built before the setting existed stay as they are
    return {
        "builder": BUILDER_VERSION,
        "source": release.schema.name,
        "config": settings,
        "files": release.fingerprints(tables_read(spec, release, config)),
        **({"vocabularies": {name: list(words) for name, words in vocabularies.items()}} if vocabularies else {}),
    }


def tables_read(spec: DatabaseSpec, release: Release, config: ReleaseCohortConfig) -> list[str]:
    """The raw tables that a cohort is built from."""
    of_labels = spec.label_tables(config.tasks)
    of_inputs = [name for name in plan(spec, release, config).tables if name not in of_labels]
    return [*release.schema.core_tables, *of_inputs, *of_labels, *published.score_tables(spec, release)]


def _write(
    folder: Path,
    spec: DatabaseSpec,
    release: Release,
    config: ReleaseCohortConfig,
    planned: Plan,
    identity: dict[str, Any],
    verified: dict[str, list[str]] | None,
    vocabularies: Mapping[str, Sequence[str]],
) -> None:
    built = spec.build_rows(release, config)
    rows = splits.assign(built.rows, config.split)
    others = pretraining.select(built, config.split) if config.pretraining_rows else None
    every = rows if others is None else pl.concat([rows, others.rows], how="diagonal")
    scratch = folder / ".scratch"
    scratch.mkdir()
    context = BuildContext(
        release=release,
        rows=every,
        tables=spec.read_tables(release),
        train=rows.filter(pl.col("split") == "train").select("row_id", "subject_id"),
        scratch=scratch,
        min_vocabulary_subjects=config.min_vocabulary_subjects,
        max_vocabulary=config.max_vocabulary,
        vocabularies=vocabularies,
        modalities=[part for parts in planned.parts.values() for part in parts],
    )
    modalities = []
    for name, parts in planned.parts.items():
        definitions = [spec.modalities[part] for part in parts]
        modality, present = _write_modality(folder / MODALITIES / name, name, definitions, context)
        modalities.append(modality)
        every = presence.add_presence(every, {name: pl.Series(present)})
    names = [modality.name for modality in modalities]
    every = every.with_columns(subject_id="subject_key")
    cohort = columns.arrange(every.head(rows.height), config.tasks, names)
    columns.validate(cohort, folder)
    cohort.write_parquet(folder / COHORT)
    columns.write_hospitals(cohort, folder)
    if others is not None:
        pretraining.write(every.slice(rows.height), cohort, names, folder)
    single = {name: folder / MODALITIES / name for name in names if not spec.modalities[name].parts}
    published.write(folder, spec, release, cohort, rows, single)
    if spec.subgroups is not None:
        spec.subgroups(replace(context, rows=rows)).write_parquet(folder / SUBGROUPS)
    built.attrition.write_csv(folder / ATTRITION)
    content = manifest(
        identity,
        cohort,
        modalities,
        config.tasks,
        source=identity["source"],
        attrition=built.attrition.to_dicts(),
        simulated=release.simulated,
        versions=release.versions(),
        dropped=planned.dropped,
        declared={name: text for name in names if (text := spec.modalities[name].declares)},
        counts={
            **built.notes,
            **spec.count(replace(context, rows=rows), names, cohort),
            **context.counts,
            **({pretraining.COUNTS: others.attrition.to_dicts()} if others else {}),
        },
        verified=verified,
    )
    shutil.rmtree(scratch)
    stage.write_json(folder / stage.MANIFEST, content)


def _write_modality(
    folder: Path, name: str, definitions: Sequence[ModalitySpec], context: BuildContext
) -> tuple[Modality, store.BoolArray]:
    """Write the files of a modality; returns the modality and its (N,) presence."""
    num_rows = context.rows.height
    kind, files = definitions[0].kind, definitions[0].files
    if files is not None:
        present = np.zeros(num_rows, dtype=np.bool_)
        present[files(context, folder).to_numpy()] = True
        return Modality(name=name, kind=kind), present
    prepared = [_block(definition, context) for definition in definitions]
    names = [column for block in prepared for column in block.columns]
    values = store.create(folder, num_rows, names)
    present = np.zeros(num_rows, dtype=np.bool_)
    start = 0
    for block in prepared:
        stop = start + len(block.columns)
        present |= block.write(values[:, start:stop])
        start = stop
    train = np.zeros(num_rows, dtype=np.bool_)
    train[context.train["row_id"].to_numpy()] = True
    store.fit_statistics(values, present & train).save(folder)
    return Modality(name=name, kind=kind, width=len(names)), present


def _block(definition: ModalitySpec, context: BuildContext) -> ColumnBlock:
    assert definition.block is not None, "a table modality has a block"
    return definition.block(context)
