"""Writes a world as a custom cohort: the readings of its subjects, without the files of a release."""

from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from benchmarks.phases.plan import Cell
from data_modules import stage
from data_modules.simulate import latent, truth
from data_modules.simulate.config import SimulateConfig
from data_modules.simulate.equations import PHRASE_RATE
from data_modules.simulate.latent import MIMIC, Array, Patients, World

WIDTHS = {"cxr": 16, "discharge_note": 16, "radiology_report": 8}
"""Modality -> number of columns that hold its readings."""
NOTE = "discharge_note"
WORDS = 200
"""Rare words of the note; the first is the phrase."""
NOISE = 0.1
"""Standard deviation of the noise of each of these columns."""
NUISANCE_FACTORS, TABLE_FACTORS, TABLE_COLUMNS = 8, 3, 12
PLACE_SEED = 20251201
"""Of what is the same in all cohorts: where the readings and the nuisance are placed."""
TRUTH = "truth.parquet"
"""In the folder of the cohort, which no run reads: row_id and the oracle of the test rows."""


class Placement(NamedTuple):
    """Where a modality's columns hold what.

    Attributes:
        readings: (R, width), orthonormal rows.
        nuisance: (factors, width), rows of length 1.
    """

    readings: Array
    nuisance: Array


def placements() -> dict[str, Placement]:
    """Modality -> placement, of the three vectors."""
    found = {}
    for number, (name, width) in enumerate(WIDTHS.items()):
        generator = np.random.default_rng((PLACE_SEED, number))
        orthogonal, _ = np.linalg.qr(generator.standard_normal((width, width)))
        found[name] = Placement(orthogonal[: len(MIMIC.reads[name])], _directions(NUISANCE_FACTORS, width, generator))
    return found


def _directions(count: int, width: int, generator: np.random.Generator) -> Array:
    drawn = generator.standard_normal((count, width))
    return np.asarray(drawn / np.linalg.norm(drawn, axis=1, keepdims=True))


def configurations(cell: Cell) -> dict[str, SimulateConfig]:
    """Split -> settings of its site: train and val are of site 0, calibration and test of that of `shift`."""
    target = SimulateConfig(**dict(cell.knobs))  # type: ignore[arg-type]
    source = SimulateConfig(**{**cell.knobs, "shift": 0.0})  # type: ignore[arg-type]
    return {"train": source, "val": source, "calibration": target, "test": target}


def reaching(world: World, count: int, generator: np.random.Generator) -> Patients:
    """Draw subjects and keep the first `count` that reach the landmark."""
    drawn = latent.draw(world, count + count // 5 + 100, generator)
    kept = np.flatnonzero(~drawn.excluded)[:count]
    assert len(kept) == count, "one in twenty is excluded"
    return Patients(**{entry.name: getattr(drawn, entry.name)[kept] for entry in fields(Patients)})


def write(cell: Cell, replicate: int, folder: Path) -> None:
    """Write the cohort of a cell and the oracle of its test rows, unless they are there.

    Args:
        cell: the world.
        replicate: seed of the subjects.
        folder: of the replicate.
    """
    stage.run_stage(folder / cell.cohort(replicate), lambda place: _write(cell, replicate, place), "paths.data")


def _write(cell: Cell, replicate: int, place: Path) -> None:
    parts = list(drawn(cell, replicate))
    rows = np.cumsum([0, *(len(patients.worry) for _, _, patients in parts)])
    frame = pl.concat(
        [_frame(split, patients, start) for (split, _, patients), start in zip(parts, rows[:-1], strict=True)]
    )
    frame.write_parquet(place / "cohort.parquet")
    readings, phrase = (np.concatenate([getattr(own, name) for _, _, own in parts]) for name in ("readings", "phrase"))
    generator = np.random.default_rng((replicate, 1))
    nuisance = cell.knobs.get("nuisance", 0.0)
    for name in MIMIC.reads:
        (place / "modalities" / name).mkdir(parents=True)
    table = structured(readings, nuisance, generator)
    table.write_parquet(place / "modalities" / "structured" / "table.parquet")
    for name, placement in placements().items():
        vectors = vectors_of(readings[:, MIMIC.reads[name]], placement, nuisance, generator)
        if name == NOTE:
            vectors = np.hstack(
                [vectors, rare_words(phrase if cell.knobs.get("phi") else None, len(readings), generator)]
            )
        np.save(place / "modalities" / name / "vectors.npy", vectors.astype(np.float32))
    _, world, patients = parts[-1]
    best = truth.oracle(world, patients, range(len(MIMIC.modalities)), np.random.default_rng((replicate, 2)))
    shown = {f"oracle/{task}": best[:, number] for number, task in enumerate(MIMIC.tasks)}
    pl.DataFrame({"row_id": np.arange(rows[-2], rows[-1]), **shown}).write_parquet(place / TRUTH)
    stage.write_json(place / stage.MANIFEST, {"knobs": dict(cell.knobs), "replicate": replicate})


def drawn(cell: Cell, replicate: int) -> Iterator[tuple[str, World, Patients]]:
    """Split, world and subjects, in the order of the rows; test is the last."""
    solved: list[tuple[SimulateConfig, World]] = []
    for number, (split, config) in enumerate(configurations(cell).items()):
        if not solved or solved[-1][0] != config:
            solved.append((config, latent.solve(config)))
        world = solved[-1][1]
        yield split, world, reaching(world, cell.rows_of(split), np.random.default_rng((replicate, 0, number)))


def _frame(split: str, patients: Patients, start: int) -> pl.DataFrame:
    """Rows of a split: labels are unknown in train and val alone."""
    known = patients.labelled | (split in {"calibration", "test"})
    row_id = np.arange(start, start + len(known))
    columns: dict[str, pl.Series] = {"row_id": pl.Series(row_id), "subject_id": pl.Series(row_id)}
    for number, task in enumerate(MIMIC.tasks):
        label = pl.Series(patients.outcome[:, number])
        columns[f"label/{task}"] = label.set(pl.Series(~known), None)
    columns["present/structured"] = pl.Series(np.ones(len(known), dtype=np.bool_))
    for number, name in enumerate(MIMIC.modalities):
        columns[f"present/{name}"] = pl.Series(patients.present[:, number])
    return pl.DataFrame(columns).with_columns(split=pl.lit(split))


def structured(readings: Array, nuisance: float, generator: np.random.Generator) -> pl.DataFrame:
    """The table: three readings, and with nuisance twelve columns of three factors that carry nothing."""
    names = [f"reading_{number}" for number in MIMIC.reads["structured"]]
    values = readings[:, MIMIC.reads["structured"]]
    if nuisance > 0:
        mixed = _directions(TABLE_FACTORS, TABLE_COLUMNS, np.random.default_rng((PLACE_SEED, len(WIDTHS))))
        values = np.hstack([values, nuisance * generator.standard_normal((len(readings), TABLE_FACTORS)) @ mixed])
        names += [f"other_{number}" for number in range(TABLE_COLUMNS)]
    return pl.DataFrame(values, schema=names).with_columns(row_id=pl.Series(np.arange(len(readings))))


def vectors_of(readings: Array, placement: Placement, nuisance: float, generator: np.random.Generator) -> Array:
    """Vectors of a modality.

    Args:
        readings: (N, R) of the modality.
        placement: of its columns.
        nuisance: standard deviation of the factors that carry nothing.
        generator: of noise and factors.

    Returns:
        (N, width).
    """
    count, width = len(readings), placement.readings.shape[1]
    vectors = readings @ placement.readings + NOISE * generator.standard_normal((count, width))
    if nuisance > 0:
        vectors += nuisance * generator.standard_normal((count, len(placement.nuisance))) @ placement.nuisance
    return np.asarray(vectors)


def rare_words(phrase: NDArray[np.bool_] | None, count: int, generator: np.random.Generator) -> NDArray[np.bool_]:
    """Indicators of rare words, (N, `WORDS`); the first is the phrase, which carries nothing where it is None."""
    words = generator.random((count, WORDS)) < PHRASE_RATE
    if phrase is not None:
        words[:, 0] = phrase
    return words
