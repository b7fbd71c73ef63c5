"""Writes a simulated release: chunks of subjects by several processes, the same bytes with any number of them."""

import gzip
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import polars as pl

from data_modules import stage
from data_modules.simulate import documents, latent, mimic_iv, timeline, truth
from data_modules.simulate.config import SimulateConfig
from data_modules.sources.mimic_iv import FILMS, HOSPITAL, MIMIC_IV, NOTES

SIMULATOR_VERSION = 1
"""Raised whenever the same knobs would give other bytes."""

CHUNK = 500
"""Subjects drawn together; part of what fixes the bytes."""
VERSIONS = {HOSPITAL: "3.1", NOTES: "2.2", FILMS: "2.1.0"}
TRUTH = "truth"
GZIP_LEVEL = 4


def release_folder(config: SimulateConfig, data: Path) -> Path:
    """Where the release of these knobs is kept among the project's data."""
    return data / "releases" / f"simulated-{stage.digest(_identity(config))}"


def simulate(
    config: SimulateConfig, target: Path, *, processes: int = 1, advance: Callable[[int], None] | None = None
) -> bool:
    """Write a release into a folder unless it is there.

    Args:
        config: the knobs.
        target: the folder; it gets `mimiciv/3.1`, `mimic-iv-note/2.2`, `mimic-cxr-jpg/2.1.0`, the embeddings and `truth`.
        processes: how many draw at once; the bytes do not depend on it.
        advance: called with the number of subjects that were written.

    Returns:
        True when it was written now, False when the same release was there.

    Raises:
        ValueError: when the folder holds something else.
        StageError: when the folder cannot be written.
    """
    _refuse_other(config, target)

    def write(folder: Path) -> None:
        _write(config, folder, processes, advance or (lambda _: None))
        stage.write_json(folder / stage.MANIFEST, _identity(config))

    return stage.run_stage(target, write, "the folder")


def _identity(config: SimulateConfig) -> dict[str, object]:
    return {"simulated": True, "simulator": SIMULATOR_VERSION, "config": asdict(config)}


def _refuse_other(config: SimulateConfig, target: Path) -> None:
    if not target.exists():
        return
    manifest = target / stage.MANIFEST
    if not manifest.is_file() and target.is_dir() and not any(target.iterdir()):
        return
    if not manifest.is_file() or stage.read_json(manifest) != _identity(config):
        raise ValueError(f"{target} holds something else than this release; name another folder, or remove it")


def _write(config: SimulateConfig, folder: Path, processes: int, advance: Callable[[int], None]) -> None:
    world = latent.solve(config)
    files: set[Path] = set()
    for number, written in enumerate(_chunks(world, folder, processes)):
        for name, content in written.items():
            path = _path(folder, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("ab") as handle:
                if path not in files:
                    handle.write(gzip.compress(_header(name), GZIP_LEVEL, mtime=0))
                handle.write(content)
            files.add(path)
        advance(min(CHUNK, config.subjects - number * CHUNK))


def _chunks(world: latent.World, folder: Path, processes: int) -> Iterator[dict[str, bytes]]:
    """Compressed rows of every table, chunk by chunk in order."""
    starts = range(0, world.config.subjects, CHUNK)
    if processes == 1 or len(starts) == 1:
        yield from (draw_chunk(world, start, folder) for start in starts)
        return
    with ProcessPoolExecutor(processes, get_context("spawn")) as pool:
        yield from pool.map(draw_chunk, [world] * len(starts), starts, [folder] * len(starts))


def draw_chunk(world: latent.World, start: int, folder: Path) -> dict[str, bytes]:
    """Draw subjects start, start + 1, ...; writes their films and truth, and returns the other tables as gzip members."""
    config = world.config
    count = min(CHUNK, config.subjects - start)
    seeds = np.random.SeedSequence([config.seed, start // CHUNK]).spawn(9)
    people, times, tables, notes, reports, films, pictures, absent, oracle = map(np.random.default_rng, seeds)
    patients = latent.draw(world, count, people)
    drawn = timeline.draw(patients, times)
    chart = documents.Chart.of(patients, drawn, start)
    written = mimic_iv.tables(patients, drawn, start, tables)
    written["discharge_notes"] = documents.discharge_notes(chart, notes)
    written["radiology_notes"] = documents.radiology_reports(chart, reports)
    written |= documents.films(chart, films, pictures, folder, write_jpeg=config.films)
    _write_truth(world, patients, chart, folder, start, absent, oracle)
    return {name: _compress(frame) for name, frame in written.items()}


def _write_truth(
    world: latent.World, patients: latent.Patients, chart: documents.Chart, folder: Path, start: int,
    absent: np.random.Generator, oracle: np.random.Generator,
) -> None:  # fmt: skip
    index = chart.admissions.number == 0
    keys = pl.DataFrame({"subject_id": chart.subject[index], "hadm_id": chart.hadm[index]})
    known = truth.table(world, patients, keys, oracle)
    contents = documents.counterfactuals(chart, absent, folder / TRUTH, write_jpeg=world.config.films)
    parts = folder / TRUTH / "index"
    parts.mkdir(parents=True, exist_ok=True)
    known.with_columns(**{name: pl.Series(said) for name, said in contents.items()}).write_parquet(
        parts / f"{start:08d}.parquet"
    )


def _path(folder: Path, name: str) -> Path:
    declared = MIMIC_IV.tables[name]
    return folder / declared.project / VERSIONS[declared.project] / f"{declared.path}.csv.gz"


def _header(name: str) -> bytes:
    return (",".join(MIMIC_IV.tables[name].columns) + "\n").encode()


def _compress(frame: pl.DataFrame) -> bytes:
    text = frame.write_csv(include_header=False, datetime_format="%Y-%m-%d %H:%M:%S", date_format="%Y-%m-%d")
    return gzip.compress(text.encode(), GZIP_LEVEL, mtime=0)


def read_truth(folder: Path) -> pl.DataFrame:
    """The truth of every index admission of a release, one row each."""
    return pl.read_parquet(folder / TRUTH / "index" / "*.parquet").sort("subject_id")
