"""Writes a simulated release in chunks of subjects; its bytes do not depend on the number of processes."""

import gzip
import os
import signal
from collections import deque
from collections.abc import Callable, Generator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from multiprocessing import get_context, parent_process
from pathlib import Path
from threading import Thread

import numpy as np
import polars as pl

from data_modules import stage
from data_modules.databases.eicu.tables import EICU, PROJECT
from data_modules.databases.mimic_iv.tables import (
    ELECTROCARDIOGRAMS,
    EMERGENCY,
    HOSPITAL,
    IMAGE_PROJECT,
    MIMIC_IV,
    NOTES,
)
from data_modules.errors import UserError
from data_modules.simulate import latent, truth
from data_modules.simulate.config import SimulateConfig
from data_modules.simulate.eicu import charts, entries
from data_modules.simulate.eicu import stays as eicu_stays
from data_modules.simulate.eicu import tables as eicu
from data_modules.simulate.mimic_iv import documents, emergency, hospital, timeline

SIMULATOR_VERSION = 1
"""To be incremented by any change that gives other bytes with equal settings."""

CHUNK = 500
"""Subjects drawn together; the bytes depend on it."""
VERSIONS = {
    HOSPITAL: "3.1", NOTES: "2.2", IMAGE_PROJECT: "2.1.0", EMERGENCY: "2.2", ELECTROCARDIOGRAMS: "1.0", PROJECT: "2.0",
}  # fmt: skip
SETTINGS = {"mimic_iv": latent.MIMIC, "eicu": latent.EICU}
DECLARED = {"mimic_iv": MIMIC_IV, "eicu": EICU}
TRUTH = "truth"
SIMULATE = "mmnar simulate"
"""The command that writes a release again."""
GZIP_LEVEL = 4

Worlds = dict[str, latent.World]
Written = dict[tuple[str, str], bytes]


def release_folder(config: SimulateConfig, data: Path) -> Path:
    """Folder of the release of these settings below the project's data."""
    return data / "releases" / f"simulated-{stage.digest(_identity(config))}"


def simulate(
    config: SimulateConfig,
    target: Path,
    *,
    processes: int = 1,
    advance: Callable[[int], None] | None = None,
) -> bool:
    """Write a release into a folder unless the folder holds it already.

    A folder with other or damaged content, or one that cannot be written, is refused with a `UserError`.

    Args:
        config: the settings.
        target: the folder; it gets `mimiciv/3.1`, `mimic-iv-note/2.2`, `mimic-cxr-jpg/2.1.0` and the embeddings,
            `eicu-crd/2.0`, and `truth`.
        processes: number of parallel processes; the bytes do not depend on it.
        advance: called with the number of subjects of each finished chunk.

    Returns:
        True if it was written, False if the folder held the same release.
    """
    _refuse_other(config, target)

    def write(folder: Path) -> None:
        _write(config, folder, processes, advance or (lambda _: None))
        stage.write_json(folder / stage.MANIFEST, _identity(config))

    written = stage.run_stage(target, write, "the folder")
    if not written:
        stage.verify(target, SIMULATE)
    return written


def _identity(config: SimulateConfig) -> dict[str, object]:
    return {"simulated": True, "simulator": SIMULATOR_VERSION, "config": config.identity()}


def _refuse_other(config: SimulateConfig, target: Path) -> None:
    if not target.exists():
        return
    if target.is_dir() and not any(target.iterdir()):
        return
    if _read_identity(target) != _identity(config):
        raise UserError(f"{target} holds something else than this release; name another folder, or remove it")


def _read_identity(folder: Path) -> object:
    """What was simulated into a folder; None if it has no readable manifest."""
    try:
        return stage.read_manifest(folder, SIMULATE)
    except stage.StageError:
        return None


def _write(config: SimulateConfig, folder: Path, processes: int, advance: Callable[[int], None]) -> None:
    worlds = {database: latent.solve(config, SETTINGS[database]) for database in config.databases}
    files: set[Path] = set()
    if "eicu" in config.databases:
        _append(_path(folder, "eicu", "hospital"), "eicu", "hospital", _compress(eicu.hospitals()), files)
    with closing(_chunks(worlds, config, folder, processes)) as chunks:  # which ends the workers, however this ends
        for number, written in enumerate(chunks):
            for (database, name), content in written.items():
                _append(_path(folder, database, name), database, name, content, files)
            advance(min(CHUNK, config.subjects - number * CHUNK))


def _append(path: Path, database: str, name: str, content: bytes, files: set[Path]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as handle:
        if path not in files:
            handle.write(
                gzip.compress((",".join(DECLARED[database].tables[name].columns) + "\n").encode(), GZIP_LEVEL, mtime=0)
            )
        handle.write(content)
    files.add(path)


def _chunks(worlds: Worlds, config: SimulateConfig, folder: Path, processes: int) -> Generator[Written, None, None]:
    """Yield the compressed rows of every table, chunk by chunk in order; few chunks are in memory at once."""
    starts = range(0, config.subjects, CHUNK)
    if processes == 1 or len(starts) == 1:
        yield from (draw_chunk(worlds, start, folder) for start in starts)
        return
    try:
        with ProcessPoolExecutor(processes, get_context("spawn"), _end_with_parent) as pool:
            waiting = deque(pool.submit(draw_chunk, worlds, start, folder) for start in starts[: 2 * processes])
            try:
                for start in starts[2 * processes :]:
                    yield waiting.popleft().result()
                    waiting.append(pool.submit(draw_chunk, worlds, start, folder))
                yield from (drawn.result() for drawn in waiting)
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)  # what is stopped does not wait for chunks in the queue
                raise
    except BrokenProcessPool:
        raise UserError("a process of the simulator died, perhaps out of memory; start the command again") from None


def _end_with_parent() -> None:
    """End this worker with the process that started it, however that ends; Ctrl-C reaches that one alone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = parent_process()
    assert parent is not None, "a worker has a parent"

    def wait() -> None:
        parent.join()
        os._exit(1)

    Thread(target=wait, daemon=True).start()


def draw_chunk(worlds: Worlds, start: int, folder: Path) -> Written:
    """Draw subjects start, start + 1, ...; write images and truth, and return the tables as gzip members."""
    drawers = {"mimic_iv": _draw_mimic, "eicu": _draw_eicu}
    written: Written = {}
    for database, world in worlds.items():
        count = min(CHUNK, world.config.subjects - start)
        seeds = np.random.SeedSequence([world.config.seed, start // CHUNK, list(SETTINGS).index(database)]).spawn(9)
        generators = [np.random.default_rng(seed) for seed in seeds]
        frames = drawers[database](world, start, count, generators, folder)
        written |= {(database, name): _compress(frame) for name, frame in frames.items()}
    return written


def _draw_mimic(
    world: latent.World, start: int, count: int, generators: list[np.random.Generator], folder: Path
) -> dict[str, pl.DataFrame]:
    people, times, tables, notes, reports, images, pixels, absent, oracle = generators
    patients = timeline.without_labels(latent.draw(world, count, people))
    drawn = timeline.draw(patients, world.config, times)
    chart = documents.Chart.of(patients, drawn, start, world.config.nuisance)
    written = hospital.tables(patients, drawn, start, tables, coded=world.config.phenotypes)
    if world.config.emergency:
        # A child of the seed, so that all that is drawn besides stays as it is.
        written |= emergency.tables(drawn.admissions, chart.subject, chart.hadm, people.spawn(1)[0])
    written["discharge_notes"] = documents.discharge_notes(chart, notes)
    written["radiology_notes"] = documents.radiology_reports(chart, reports)
    written |= documents.images(chart, images, pixels, folder, write_jpeg=world.config.images)
    index = chart.admissions.number == 0
    keys = pl.DataFrame({"subject_id": chart.subject[index], "hadm_id": chart.hadm[index]})
    contents = documents.counterfactuals(chart, absent, folder / TRUTH, write_jpeg=world.config.images)
    known = truth.table(world, patients, keys, oracle)
    _write_truth(
        known.with_columns(**{name: pl.Series(texts) for name, texts in contents.items()}), "mimic_iv", start, folder
    )
    return written


def _draw_eicu(
    world: latent.World, start: int, count: int, generators: list[np.random.Generator], folder: Path
) -> dict[str, pl.DataFrame]:
    people, times, tables, charting, *_, absent, oracle = generators
    patients = latent.draw(world, count, people)
    stays = eicu_stays.draw_stays(patients, world.config, start, times)
    first = stays.number == 0
    keys = pl.DataFrame({"patientunitstayid": stays.stay[first], "outcome/unit_mortality": stays.dies[first]})
    contents = entries.contents(patients, world.config.nuisance, absent)
    known = eicu.with_unit_mortality(truth.table(world, patients, keys, oracle))
    _write_truth(
        known.with_columns(**{name: pl.Series(texts) for name, texts in contents.items()}), "eicu", start, folder
    )
    written = eicu.tables(patients, stays, start, world.config.nuisance, tables)
    if world.config.phenotypes:
        written["diagnosis"] = entries.with_codes(written["diagnosis"], stays, tables)
    return written | (charts.charted(stays, charting) if world.config.charting else {})


def _write_truth(known: pl.DataFrame, database: str, start: int, folder: Path) -> None:
    parts = folder / TRUTH / database
    parts.mkdir(parents=True, exist_ok=True)
    known.write_parquet(parts / f"{start:08d}.parquet")


def _path(folder: Path, database: str, name: str) -> Path:
    declared = DECLARED[database].tables[name]
    return folder / declared.project / VERSIONS[declared.project] / f"{declared.path}.csv.gz"


def _compress(frame: pl.DataFrame) -> bytes:
    text = frame.write_csv(include_header=False, datetime_format="%Y-%m-%d %H:%M:%S", date_format="%Y-%m-%d")
    return gzip.compress(text.encode(), GZIP_LEVEL, mtime=0)


def read_truth(folder: Path, database: str = "mimic_iv") -> pl.DataFrame:
    """Read the truth of a release, one row per index stay, in the order of the subjects."""
    return pl.read_parquet(sorted((folder / TRUTH / database).glob("*.parquet")))
