"""Custom cohorts: validates and imports a folder that follows the contract of docs/cohort.md."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from data_modules import stage
from data_modules.cohorts import columns, config, splits
from data_modules.cohorts.build import ATTRITION, COHORT, MODALITIES
from data_modules.cohorts.columns import PRESENT, ContractError
from data_modules.cohorts.config import CustomCohortConfig
from data_modules.cohorts.manifest import manifest
from data_modules.errors import UserError
from data_modules.features import documents, store
from data_modules.raw.errors import SourceError
from data_modules.raw.fingerprint import fingerprint
from data_modules.vocabulary import Modality

IMPORTER_VERSION = 1
TABLE, VECTORS = "table.parquet", "vectors.npy"


def build_custom(source: Path, config: CustomCohortConfig, data: Path) -> Path:
    """Validate and import a custom cohort unless it is imported.

    A violation of the contract is a `ContractError`, a missing or unreadable file a `SourceError`.

    Args:
        source: folder of the custom cohort, only read.
        config: the tasks and modalities to use.
        data: `paths.data`.

    Returns:
        The imported folder, with the layout of a built cohort.
    """
    frame = _read_parquet(source / COHORT)
    columns.validate(frame, source / COHORT)
    tasks = _choose(columns.tasks_of(frame), config.tasks, "tasks", source)
    modalities = _choose(columns.modalities_of(frame), config.modalities, "modalities", source)
    _check_folds(frame, config.split, source / COHORT)
    files = {name: _file_of(source, name) for name in modalities}
    identity = {
        "importer": IMPORTER_VERSION,
        "config": asdict(config),
        "files": {
            str(path.relative_to(source)): fingerprint(path) for path in (source / COHORT, *sorted(files.values()))
        },
    }
    target = data / "cohorts" / f"{config.name}-{stage.digest(identity)}"

    def write(folder: Path) -> None:
        cohort = _complete(frame, tasks, modalities, config)
        written = [_import(path, name, cohort, folder) for name, path in files.items()]
        cohort.write_parquet(folder / COHORT)
        attrition = [{"rule": "as given", "rows": cohort.height, "subjects": cohort["subject_id"].n_unique()}]
        pl.DataFrame(attrition).write_csv(folder / ATTRITION)
        content = manifest(identity, cohort, written, tasks, source="custom", attrition=attrition)
        stage.write_json(folder / stage.MANIFEST, content)

    stage.run_stage(target, write, "paths.data")
    return target


def _read_parquet(path: Path) -> pl.DataFrame:
    if not path.is_file():
        raise SourceError(path, "this file of the cohort contract is missing", "write it as docs/cohort.md shows")
    try:
        return pl.read_parquet(path)
    except pl.exceptions.PolarsError as error:
        raise SourceError(path, "this file is not readable as parquet", "write it again") from error


def _choose(available: list[str], requested: list[str], key: str, source: Path) -> list[str]:
    unknown = [name for name in requested if name not in available]
    if unknown:
        raise UserError(f"cohort.{key}: {', '.join(unknown)} is not in {source}, which has {', '.join(available)}")
    return requested or available


def _check_folds(frame: pl.DataFrame, config: config.SplitConfig, place: Path) -> None:
    """Refuse to hold out a fold that contradicts the splits or folds of the cohort."""
    held = {key: getattr(config, key) for key in ("test_fold", "crossfit_fold") if getattr(config, key) is not None}
    for key, fold in held.items():
        setting = f"cohort.split.{key}={fold}"
        if key == "test_fold" and "split" in frame.columns:
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
    found = [folder / name for name in (TABLE, VECTORS, documents.DOCUMENTS) if (folder / name).is_file()]
    if len(found) != 1:
        problem = "has more than one of" if found else "has none of"
        names = f"{TABLE}, {VECTORS}, {documents.DOCUMENTS}"
        raise SourceError(folder, f"this folder {problem} {names}", "write exactly one of them")
    return found[0]


def _complete(frame: pl.DataFrame, tasks: list[str], modalities: list[str], config: CustomCohortConfig) -> pl.DataFrame:
    """Draw missing splits and folds, hold out the configured fold, and arrange the columns."""
    keyed = frame.with_columns(pl.col("subject_id").cast(pl.String))
    provided = [name for name in columns.SPLIT_COLUMNS if name in frame.columns]
    drawn = splits.draw(keyed["subject_id"], config.split, keyed.select("subject_id", *provided) if provided else None)
    keyed = keyed.drop(provided).join(drawn, on="subject_id", maintain_order="left")
    return columns.arrange(keyed, tasks, modalities)


def _import(path: Path, name: str, cohort: pl.DataFrame, folder: Path) -> Modality:
    """Import a modality; data of rows without the modality are never written."""
    target = folder / MODALITIES / name
    present = cohort[PRESENT + name].to_numpy()
    if path.name == documents.DOCUMENTS:
        _import_documents(path, name, present, target)
        return Modality(name=name, kind="documents")
    names, position, values = _read_table(path) if path.name == TABLE else _read_vectors(path, cohort.height)
    if position.size and (position.min() < 0 or position.max() >= cohort.height):
        raise ContractError(path, "row_id", 0, f"must lie in 0 to {cohort.height - 1}, the rows of {COHORT}")
    counts = np.bincount(position, minlength=cohort.height)
    if (counts > 1).any():
        raise ContractError(path, "row_id", int((counts > 1).sum()), "each row must occur once")
    if (present & (counts == 0)).any():
        missing = int((present & (counts == 0)).sum())
        raise ContractError(path, PRESENT + name, missing, "is True, but the file lacks the row")
    out = store.create(target, cohort.height, names)
    for block in store.blocks(len(position)):
        kept = present[position[block]]
        out[position[block][kept]] = values[block][kept]
    train = (cohort["split"] == "train").to_numpy()
    store.fit_statistics(out, present & train).save(target)
    return Modality(name=name, kind="table" if path.name == TABLE else "vectors", width=len(names))


def _read_table(path: Path) -> tuple[list[str], Any, Any]:
    """Column names, (n,) row ids and (n, width) float32 values of a numeric table."""
    table = _read_parquet(path)
    if "row_id" not in table.columns or not table["row_id"].dtype.is_integer() or table["row_id"].null_count():
        raise ContractError(path, "row_id", 0, "must exist, be integer and never null")
    values = table.drop("row_id")
    for name, dtype in values.schema.items():
        if not dtype.is_numeric() and dtype != pl.Boolean:
            raise ContractError(path, name, 0, f"must be numeric, but is {dtype}")
    if not values.width:
        raise ContractError(path, "<any>", 0, "there is no column besides row_id")
    array = values.select(pl.all().cast(pl.Float32).fill_null(float("nan"))).to_numpy()
    return values.columns, table["row_id"].cast(pl.Int64).to_numpy(), array


def _read_vectors(path: Path, num_rows: int) -> tuple[list[str], Any, Any]:
    """Column names, (N,) row ids and (N, width) values of precomputed vectors; row i belongs to row_id i."""
    try:
        values = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise SourceError(path, "this file is not a readable .npy array of numbers", "write it again") from error
    if values.ndim != 2 or values.shape[0] != num_rows or not np.issubdtype(values.dtype, np.floating):
        raise SourceError(
            path,
            f"has {values.dtype} of shape {values.shape}; expected floats of shape ({num_rows}, width), "
            "row i for row_id i",
            "write it again; rows without the modality may hold any values",
        )
    return [str(column) for column in range(values.shape[1])], np.arange(num_rows), values


def _import_documents(path: Path, name: str, present: store.BoolArray, target: Path) -> None:
    texts = _read_parquet(path)
    for column in ("row_id", "text"):
        if column not in texts.columns:
            raise ContractError(path, column, 0, "is missing")
    if not texts["row_id"].dtype.is_integer() or texts["text"].dtype != pl.String:
        raise ContractError(path, "row_id, text", 0, "row_id must be integer and text must be String")
    texts = texts.filter(pl.col("text").is_not_null())
    known = np.isin(np.flatnonzero(present), texts["row_id"].to_numpy())
    if not known.all():
        raise ContractError(path, PRESENT + name, int((~known).sum()), "is True, but there is no document")
    target.mkdir(parents=True)
    kept = texts.filter(pl.col("row_id").is_in(np.flatnonzero(present)))
    kept.write_parquet(target / documents.DOCUMENTS, row_group_size=documents.ROW_GROUP)
