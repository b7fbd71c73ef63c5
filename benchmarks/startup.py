"""CPU seconds, memory and imports of what `mmnar` answers before any work, as ratios to a bare interpreter.

`python -m benchmarks.startup`
"""

import os
import subprocess
import sys
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
REPEATS = 5


def measure(words: list[str]) -> tuple[float, float]:
    """Least CPU seconds of several runs, and the largest memory in MB."""
    seconds, memory = [], 0.0
    for _ in range(REPEATS):
        process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        _, _, usage = os.wait4(process.pid, 0)
        seconds.append(usage.ru_utime + usage.ru_stime)
        memory = max(memory, usage.ru_maxrss / 1024)
    return min(seconds), memory


def main() -> None:
    """Print one line a case."""
    bare = measure(CASES["python -c pass"])[0]
    for name, words in CASES.items():
        seconds, memory = measure(words)
        print(f"{name:16s} {seconds:5.2f} CPU s  {seconds / bare:5.1f} x bare  {memory:6.0f} MB")


if __name__ == "__main__":
    main()
