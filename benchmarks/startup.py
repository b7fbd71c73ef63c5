"""CPU seconds and memory of what `mmnar` answers before any work, and of what its stages import, as ratios.

`python -m benchmarks.startup`
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

PROGRAM = str(Path(sys.executable).with_name("mmnar"))
CASES = {
    "python -c pass": [sys.executable, "-c", "pass"],
    "mmnar --help": [PROGRAM, "--help"],
    "mmnar --version": [PROGRAM, "--version"],
    "unknown command": [PROGRAM, "trian"],
    "wrong setting": [PROGRAM, "train", "optim.lrr=1"],
    "wrong value": [PROGRAM, "train", "optim.lr=-1"],
    "no cohort": [PROGRAM, "train", "dataset=custom", "paths.cohort=nowhere"],  # refused after all imports
}
FLOOR, BEFORE = "polars", "torch, lightning, torchmetrics, transformers, matplotlib, polars"
"""What a stage needs at least, and what every command imported before they were separated."""
STAGES = ("simulate", "doctor", "cohort")
REPEATS = 5


def measure(words: Sequence[str]) -> tuple[float, float]:
    """Least CPU seconds of several runs, each in an empty folder, and the largest memory in MB."""
    seconds, memory = [], 0.0
    for _ in range(REPEATS):
        with tempfile.TemporaryDirectory(prefix="mmnar-bench-") as place:
            process = subprocess.Popen(words, cwd=place, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            _, _, usage = os.wait4(process.pid, 0)
        seconds.append(usage.ru_utime + usage.ru_stime)
        memory = max(memory, usage.ru_maxrss / 1024)
    return min(seconds), memory


def imports(modules: str) -> list[str]:
    """The words that import modules alone."""
    return [sys.executable, "-c", f"import {modules}"]


def demo_cohort() -> list[str]:
    """The words that build the cohort of the open demo of MIMIC-IV; none without it.

    Another process looks for it: memory of a process that is started is at least that of the one that starts it.
    """
    look = "from benchmarks import databases, scale; print(scale.demo_roots(databases.BENCHED['mimic']))"
    *said, roots = subprocess.run(
        [sys.executable, "-c", look], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    print(*said, sep="\n")
    return [] if roots == "None" else ["cohort", "experiment=mimic_structured", f"paths.mimic_root={roots}"]


def show(cases: dict[str, list[str]]) -> None:
    """Print one line a case, with its ratio to the first."""
    floor = None
    for name, words in cases.items():
        seconds, memory = measure(words)
        floor = floor or seconds
        print(f"{name:36s} {seconds:5.2f} CPU s  {seconds / floor:5.1f} times the first  {memory:6.0f} MB", flush=True)


def main() -> None:
    """Print one line a case."""
    show(CASES)
    stages = {f"import for mmnar {name}": imports(f"mmnar_lightning.commands.{name}") for name in STAGES}
    cases = {f"import {FLOOR}": imports(FLOOR), "import before": imports(BEFORE), **stages}
    print()
    if words := demo_cohort():
        cases["mmnar cohort, MIMIC-IV demo"] = [PROGRAM, *words]
    show(cases)


if __name__ == "__main__":
    main()
