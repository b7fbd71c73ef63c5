"""Custom cohorts: validates and imports a folder that follows the contract of docs/cohort.md."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from data_modules import stage
from data_modules.cohorts import columns, config, given, given_events, given_images, splits, subgroups
from data_modules.cohorts.build import ATTRITION, COHORT, MODALITIES
from data_modules.cohorts.columns import PRESENT, ContractError
from data_modules.cohorts.config import CustomCohortConfig
from data_modules.cohorts.fitting import TEXT, Fitting, Words
from data_modules.cohorts.given_events import EVENTS
from data_modules.cohorts.manifest import manifest
from data_modules.errors import UserError
from data_modules.features import documents, images, store
from data_modules.raw.errors import SourceError
from data_modules.raw.fingerprint import fingerprint
from data_modules.vocabulary import Kind, Modality

IMPORTER_VERSION = 3
TABLE, VECTORS = "table.parquet", "vectors.npy"
FILES = (TABLE, VECTORS, EVENTS, documents.DOCUMENTS, images.IMAGES)
"""The files of which a modality has exactly one."""


def build_custom(
    source: Path, config: CustomCohortConfig, data: Path, *, labelled: bool = True, words: Words | None = None
) -> Path:
    """Validate and import a custom cohort unless it is imported.

    A violation of the contract is a `ContractError`, a missing or unreadable file a `SourceError`.

    Args:
        source: folder of the custom cohort, only read.
        config: the tasks and modalities to use.
        data: `paths.data`.
        labelled: whether it must have a task; rows that are only predicted need none.
        words: which levels of categories and names of events become columns; None = those of ten train subjects.

    Returns:
        The imported folder, with the layout of a built cohort.
    """
    frame = given.cast_flags(given.read_parquet(source / COHORT), source / COHORT)
    columns.validate(frame, source / COHORT, labelled=labelled)
    tasks = _choose(columns.tasks_of(frame), config.tasks, "tasks", source)
    modalities = _choose(columns.modalities_of(frame), config.modalities, "modalities", source)
    _check_folds(frame, config.split, source / COHORT)
    files = {name: _file_of(source, name) for name in modalities}
    unread = _unread(source, columns.modalities_of(frame))
    words = words or Words()
    identity: dict[str, Any] = {
        "importer": IMPORTER_VERSION,
        "config": asdict(config),
        "files": {
            str(path.relative_to(source)): fingerprint(path) for path in (source / COHORT, *sorted(files.values()))
        },
    }
    if any(_has_words(path) for path in files.values()):  # other cohorts keep the folder that they have always had
        identity["words"] = words.identity
    target = data / "cohorts" / f"{config.name}-{stage.digest(identity)}"

    def write(folder: Path) -> None:
        cohort = _complete(frame, tasks, modalities, config)
        imported = [_import(Fitting.of(name, path, cohort, words), cohort, folder) for name, path in files.items()]
        written, lines = [modality for modality, _ in imported], [line for _, found in imported for line in found]
        cohort.write_parquet(folder / COHORT)
        subgroups.write_given(frame, source / COHORT, folder)
        columns.write_hospitals(cohort, folder)
        attrition = [{"rule": "as given", "rows": cohort.height, "subjects": cohort["subject_id"].n_unique()}]
        pl.DataFrame(attrition).write_csv(folder / ATTRITION)
        content = manifest(
            identity, cohort, written, tasks, source="custom", attrition=attrition, dropped=[*unread, *lines]
        )
        stage.write_json(folder / stage.MANIFEST, content)

    stage.run_stage(target, write, "paths.data")
    return target


def _choose(available: list[str], requested: list[str], key: str, source: Path) -> list[str]:
    unknown = [name for name in requested if name not in available]
    if unknown:
        raise UserError(f"cohort.{key}: {', '.join(unknown)} is not in {source}, which has {', '.join(available)}")
    return requested or available


def _check_folds(frame: pl.DataFrame, config: config.SplitConfig, place: Path) -> None:
    """Refuse to hold out a fold that contradicts the splits or folds of the cohort."""
    for key, fold in config.held_folds.items():
        setting = f"cohort.split.{key}={fold}"
        if key == "test_from" and "fold" not in frame.columns:
            raise ContractError(place, "fold", 0, f"is missing, but {setting} needs it, numbered in order of time")
        if key != "crossfit_fold" and "split" in frame.columns:
            raise ContractError(place, "split", 0, f"exists, but {setting} draws the splits; remove the column")
        if key == "crossfit_fold" and "split" in frame.columns and "fold" not in frame.columns:
            raise ContractError(place, "fold", 0, f"is missing, but {setting} needs it beside the column split")
        if "fold" in frame.columns:
            invalid = frame.filter(~pl.col("fold").is_between(0, config.num_folds - 1).fill_null(False)).height
            if invalid:
                rule = f"must lie in 0 to {config.num_folds - 1} (cohort.split.num_folds) for {setting}"
                raise ContractError(place, "fold", invalid, rule)


def _file_of(source: Path, modality: str) -> Path:
    """The file of a modality."""
    folder = source / MODALITIES / modality
    found = [folder / name for name in FILES if (folder / name).is_file()]
    if len(found) != 1:
        problem = f"has {', '.join(path.name for path in found)}" if found else "has none of the files"
        expected = f"; expected exactly one of {', '.join(FILES)}"
        raise SourceError(folder, f"this folder {problem}{expected}", "write one file, and one folder a modality")
    return found[0]


def _has_words(path: Path) -> bool:
    """Whether words of a file become columns: a table with text columns, or events."""
    if path.name != TABLE:
        return path.name == EVENTS
    try:
        schema = pl.read_parquet_schema(path)
    except (pl.exceptions.PolarsError, OSError):
        return False  # the import says what is wrong
    return any(dtype.base_type() in TEXT for dtype in schema.values())


def _complete(frame: pl.DataFrame, tasks: list[str], modalities: list[str], config: CustomCohortConfig) -> pl.DataFrame:
    """Draw missing splits and folds, hold out the configured fold, and arrange the columns."""
    keyed = frame.with_columns(pl.col("subject_id").cast(pl.String))
    provided = [name for name in columns.SPLIT_COLUMNS if name in frame.columns]
    drawn = splits.draw(keyed["subject_id"], config.split, keyed.select("subject_id", *provided) if provided else None)
    placed = keyed.drop(provided).join(drawn, on="subject_id", maintain_order="left")
    return columns.arrange(splits.calibrate_at_target(placed, "subject_id", config.split), tasks, modalities)


def _unread(source: Path, modalities: list[str]) -> list[str]:
    """Lines for the user: folders of modalities that no presence column names."""
    folder = source / MODALITIES
    found = sorted(path.name for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
    return [
        f"{MODALITIES}/{name} is not read: {COHORT} has no column {PRESENT}{name}"
        for name in found
        if name not in modalities and not name.startswith(".")
    ]


def _import(fitting: Fitting, cohort: pl.DataFrame, folder: Path) -> tuple[Modality, list[str]]:
    """Import a modality; data of rows without the modality are never written. Returns it, and lines for the user."""
    path, name, target = fitting.path, fitting.modality, folder / MODALITIES / fitting.modality
    present, column = fitting.present.to_numpy(), PRESENT + fitting.modality
    if path.name == documents.DOCUMENTS:
        texts = given.read_documents(path, column, present)
        target.mkdir(parents=True)
        texts.write_parquet(target / documents.DOCUMENTS, row_group_size=documents.ROW_GROUP)
        return Modality(name=name, kind="documents"), []
    if path.name == images.IMAGES:
        index, lines = given_images.read_images(path, name, column, present)
        images.write(index.lazy(), target)
        return Modality(name=name, kind="images"), lines
    if path.name == EVENTS:
        out, names, lines = given_events.write(given_events.read_events(path, column, present), target, fitting)
    else:
        out, names, lines = _import_values(fitting, target)
    train = (cohort["split"] == "train").to_numpy()
    store.fit_statistics(out, present & train).save(target)
    kind: Kind = "vectors" if path.name == VECTORS else "table"
    return Modality(name=name, kind=kind, width=len(names)), lines


def _import_values(fitting: Fitting, target: Path) -> tuple[store.FloatArray, list[str], list[str]]:
    """Import a table or vectors; returns the values, the names of the columns, and lines for the user."""
    path, column, present = fitting.path, PRESENT + fitting.modality, fitting.present.to_numpy()
    is_table = path.name == TABLE
    inputs = given.read_table(path, fitting) if is_table else given.read_vectors(path, len(present))
    missing = int((~np.isin(np.flatnonzero(present), inputs.row_id)).sum())
    if missing:
        raise ContractError(path, column, missing, "is True, but the file lacks the row")
    out = store.create(target, len(present), inputs.names)
    empty = 0
    for block in store.blocks(len(inputs.row_id)):
        kept = present[inputs.row_id[block]]
        rows = inputs.row_id[block][kept]
        with np.errstate(over="ignore"):  # a double beyond float32 becomes infinite, which is refused
            out[rows] = inputs.values[block][kept]
        empty += given.check_values(path, column, out[rows], inputs.names, vectors=not is_table)
    lines = [f"{fitting.modality}: {empty} rows with {column} have no value in {path.name}"] if empty else []
    return out, inputs.names, [*inputs.lines, *lines]
