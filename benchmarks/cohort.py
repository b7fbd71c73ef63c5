"""Processor time and memory of the cohort build, against a bare polars scan of the same tables in the same run.

With `--further` also those of a cohort with every modality of the `further.py` of the database, against a bare scan of
its tables.
"""

import argparse
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import TypeVar

import polars as pl

from benchmarks.databases import BENCHED
from benchmarks.scale import demo_roots, scale, settings, tables_read
from data_modules.cohorts.build import build_cohort
from data_modules.databases.registry import database
from data_modules.raw.reader import Release

T = TypeVar("T")

MAX_RATIO, MAX_GROWTH, MAX_MEGABYTES = 1.5, 4.0, 1536.0
"""Build over bare scan; time at the largest size over the smallest, per factor of 4 in patients; resident memory."""
BUILDS = {"build": "bare", "further": "bare further"}
"""Build -> the bare scan of its tables."""


@dataclass(frozen=True)
class Cost:
    """What one run took: CPU seconds and peak resident memory of its process in MB.

    CPU seconds are those of all threads, so that other work on the machine, which makes a run longer, counts less.
    """

    seconds: float
    megabytes: float


def build(dataset: str, root: str, data: Path, *, further: bool = False) -> None:
    """The cohort build of the experiment."""
    benched = BENCHED[dataset]
    release = Release.parse(benched.schema, root)
    build_cohort(database(dataset), release, settings(benched, further=further), data)


def bare(dataset: str, root: str, data: Path, *, further: bool = False) -> None:
    """Scan -> filter -> aggregate of every table that the build reads: counts and means of each patient or unit stay.

    Times stay text here, and nothing is joined, sorted or written: it is what reading alone costs.
    """
    benched = BENCHED[dataset]
    release = Release.parse(benched.schema, root)
    filters = benched.further_filters if further else benched.filters
    for name in tables_read(benched, release, further=further):
        by, *others = benched.columns[name]
        declared = benched.schema.tables[name].columns
        numbers = {column: declared[column] for column in (by, *others) if declared[column].is_numeric()}
        scanned = pl.scan_csv(release.files[name], infer_schema=False, schema_overrides=numbers).select(by, *others)
        means = [pl.col(column).mean().name.suffix("/mean") for column in numbers if column != by]
        found = scanned.filter(filters.get(name, True)).group_by(by)
        found.agg(pl.all().count(), *means).collect(engine="streaming")


def once(work: Callable[[str, Path], None], root: str) -> Cost:
    """Run work on a root, once; called in a process that has done nothing else."""
    with tempfile.TemporaryDirectory(prefix="mmnar-bench-") as data:
        before = time.process_time()
        work(root, Path(data))
        seconds = time.process_time() - before
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return Cost(seconds, peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6)


def in_fresh_process(function: Callable[..., T], *arguments: object) -> T:
    """Call a function in a process of its own, so that its peak memory is its own."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def warm(root: Path) -> None:
    """Read every file once, so that both runs find them in the page cache."""
    for file in root.rglob("*.csv.gz"):
        with file.open("rb") as handle:
            while handle.read(1 << 24):
                pass


Works = Mapping[str, Callable[[str, Path], None]]


def measure(root: Path, repeats: int, works: Works) -> dict[str, list[Cost]]:
    """Work by name, in turns."""
    warm(root)
    costs: dict[str, list[Cost]] = {name: [] for name in works}
    for _ in range(repeats):
        for name, work in works.items():
            costs[name].append(in_fresh_process(once, work, str(root)))
    return costs


def line(what: str, value: float, target: float) -> str:
    """A figure with its target."""
    return f"{what:<58}{value:8.2f}   target <= {target:g}   {'met' if value <= target else 'MISSED'}"


def report(costs: dict[int, dict[str, list[Cost]]]) -> None:
    """Print the figures, targets beside them."""
    seconds: dict[tuple[int, str], float] = {}
    for patients, by_name in costs.items():
        for name, runs in by_name.items():
            times = sorted(cost.seconds for cost in runs)
            seconds[patients, name] = median(times)
            megabytes = max(cost.megabytes for cost in runs)
            print(
                f"{patients:7,} patients  {name:<13}{median(times):8.1f} CPU s "
                f"({times[0]:.1f} to {times[-1]:.1f}, {len(times)} runs){megabytes:8.0f} MB"
            )
    small, large = min(costs), max(costs)
    for patients, by_name in costs.items():
        for build_name in (name for name in BUILDS if name in by_name):
            pairs = zip(by_name[build_name], by_name[BUILDS[build_name]], strict=True)
            ratio = median(a.seconds / b.seconds for a, b in pairs)
            print(line(f"{build_name} / {BUILDS[build_name]} at {patients:,} patients, time", ratio, MAX_RATIO))
            megabytes = max(cost.megabytes for cost in by_name[build_name])
            print(line(f"{build_name} at {patients:,} patients, peak resident memory, MB", megabytes, MAX_MEGABYTES))
    if small < large:
        growth = seconds[large, "build"] / seconds[small, "build"]
        limit = MAX_GROWTH * large / small / 4
        print(line(f"build at {large:,} / {small:,} patients, time", growth, limit))


def main(words: Sequence[str] | None = None) -> None:
    """Measure at every size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dataset", choices=list(BENCHED), default="mimic", help="the database")
    parser.add_argument("--patients", type=int, nargs="+", default=[2_500, 10_000], help="sizes")
    parser.add_argument("--repeats", type=int, default=2, help="runs of each, in turns")
    parser.add_argument("--keep", type=Path, help="folder for the multiplied demo, reused when it is there")
    parser.add_argument("--further", action="store_true", help="also with every further modality of the database")
    arguments = parser.parse_args(words)
    dataset = arguments.dataset
    roots = demo_roots(BENCHED[dataset])
    if roots is None:
        return
    with tempfile.TemporaryDirectory(prefix="mmnar-bench-") as scratch:
        folder = arguments.keep or Path(scratch)
        costs = {}
        for patients in sorted(arguments.patients):
            root = in_fresh_process(scale, dataset, roots, patients, folder)
            works = {"build": partial(build, dataset), "bare": partial(bare, dataset)}
            if arguments.further:
                works |= {
                    "further": partial(build, dataset, further=True),
                    "bare further": partial(bare, dataset, further=True),
                }
            costs[patients] = measure(root, arguments.repeats, works)
        report(costs)


if __name__ == "__main__":
    main()
