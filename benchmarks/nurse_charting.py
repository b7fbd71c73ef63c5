"""Time and memory of a cohort with nurseCharting of eICU, against a bare polars scan of it in the same run.

The open demo here has no such table, so it is simulated: about 600 rows a stay, of which one in six is read.
"""

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import polars as pl

from benchmarks.cohort import in_fresh_process, line, measure
from data_modules.cohorts.build import build_cohort
from data_modules.databases.eicu.config import EICUCohortConfig
from data_modules.databases.eicu.nursing import LABEL, NAME, TABLE, kept
from data_modules.databases.eicu.tables import EICU
from data_modules.databases.registry import database
from data_modules.raw.reader import Release
from data_modules.simulate.config import SimulateConfig
from data_modules.simulate.release import simulate

MODALITIES = ["neurology", "nurse_vitals"]
MAX_RATIO, MAX_MEGABYTES = 2.5, 1536.0
"""Build over bare scan, time; resident memory."""


def write(subjects: int, folder: Path) -> Path:
    """Simulate a release with flow sheets."""
    root = folder / f"{subjects}"
    simulate(SimulateConfig(databases=["eicu"], subjects=subjects, charting=True), root)
    return root


def build(root: str, data: Path) -> None:
    """A cohort of the modalities of nurseCharting."""
    config = EICUCohortConfig(index="every", modalities=MODALITIES)
    build_cohort(database("eicu"), Release.parse(EICU, root), config, data)


def bare(root: str, data: Path) -> None:
    """Scan -> filter -> aggregate of nurseCharting: counts of each stay. Offsets are parsed, values stay text."""
    file = Release.parse(EICU, root).files[TABLE]
    columns = ["patientunitstayid", "nursingchartoffset", "nursingchartentryoffset", LABEL, NAME, "nursingchartvalue"]
    offsets = dict.fromkeys(columns[:3], pl.Int64)
    scanned = pl.scan_csv(file, infer_schema=False, schema_overrides=offsets).select(columns)
    scanned.filter(kept()).group_by("patientunitstayid").agg(pl.all().count()).collect(engine="streaming")


def main(words: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--subjects", type=int, default=4_000, help="simulated subjects")
    parser.add_argument("--repeats", type=int, default=2, help="runs of each, in turns")
    arguments = parser.parse_args(words)
    with tempfile.TemporaryDirectory(prefix="mmnar-bench-") as scratch:
        root = in_fresh_process(write, arguments.subjects, Path(scratch))
        costs = measure(root, arguments.repeats, {"build": build, "bare": bare})
        rows = pl.scan_csv(Release(EICU, [root]).files[TABLE], infer_schema=False).select(pl.len()).collect().item()
    for name, runs in costs.items():
        seconds = sorted(cost.seconds for cost in runs)
        print(f"{rows:11,} rows  {name:<6}{median(seconds):8.1f} CPU s ({seconds[0]:.1f} to {seconds[-1]:.1f})")
    ratio = median(a.seconds / b.seconds for a, b in zip(costs["build"], costs["bare"], strict=True))
    print(line(f"build / bare scan of nurseCharting, {rows:,} rows, time", ratio, MAX_RATIO))
    megabytes = max(cost.megabytes for cost in costs["build"])
    print(line(f"build with nurseCharting, {rows:,} rows, peak memory, MB", megabytes, MAX_MEGABYTES))


if __name__ == "__main__":
    main()
