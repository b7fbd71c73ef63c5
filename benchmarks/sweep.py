"""CPU seconds of an offline sweep of small trials: copies of one process, against a process of its own for each.

`python -m benchmarks.sweep`. Both sweeps draw the same trials. `env mmnar trial` in the file is another program to the
sweep, so that each trial imports everything anew, as all did once.
"""

import argparse
import ctypes
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

from benchmarks.loader import write_cohort

FILE = """
method: random
metric: {{name: val/auroc_best, goal: maximize}}
run_cap: {trials}
command: [{program}, trial, evaluate=false, trainer.progress_bar=false, "${{args_no_hyphens}}"]
parameters:
  optim.lr: {{min: 1.0e-3, max: 2.0e-3}}
"""
SETTINGS = ("dataset=custom", "paths.cohort=given", "trainer.accelerator=cpu", "trainer.max_epochs=2")
PROGRAM = str(Path(sys.executable).with_name("mmnar"))
OWN, COPIES = "env, mmnar", "mmnar"
SUBREAPER = 36
"""Number of the option of Linux's prctl by which this process adopts, and so counts, what the sweep leaves behind."""


def cpu_seconds(place: Path, program: str, trials: int, name: str) -> float:
    """CPU seconds of a sweep and of all processes that it starts."""
    (place / f"{name}.yaml").write_text(FILE.format(trials=trials, program=program), encoding="utf-8")
    before = _of_children()
    words = ["sweep", "sweep.offline=true", f"sweep.file={name}.yaml", *SETTINGS]
    subprocess.run([PROGRAM, *words], cwd=place, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while _wait_for_orphan():
        pass
    return _of_children() - before


def _of_children() -> float:
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    return spent.ru_utime + spent.ru_stime


def _wait_for_orphan() -> bool:
    try:
        os.wait()
    except ChildProcessError:
        return False
    return True


def main() -> None:
    """Measure in a temporary folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=6)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--rows", type=int, default=500, help="rows of the cohort")
    arguments = parser.parse_args()
    ctypes.CDLL(None, use_errno=True).prctl(SUBREAPER, 1, 0, 0, 0)
    found: dict[str, list[float]] = {OWN: [], COPIES: []}
    with tempfile.TemporaryDirectory(prefix="mmnar-bench-") as scratch:
        write_cohort(Path(scratch) / "given", arguments.rows)
        for number in range(arguments.repeats):
            for which, (program, seconds) in enumerate(found.items()):
                seconds.append(cpu_seconds(Path(scratch), program, arguments.trials, f"sweep{number}{which}"))
    before, after = median(found[OWN]), median(found[COPIES])
    print(f"{arguments.trials} trials, a process each {before:8.1f} CPU s")
    print(f"{arguments.trials} trials, copies of one {after:8.1f} CPU s   {before / after:.1f} x less")


if __name__ == "__main__":
    main()
