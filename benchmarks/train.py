"""CPU seconds and memory of whole runs by part, and how each part grows with the rows.

`python -m benchmarks.train`: `make train` and, where the open demo of MIMIC-IV is found, `experiment=mimic_structured`
on it. Every run is a process of its own, with the defaults; those of the growth, on simulated releases with encoded
notes and images, train fewer epochs. A part does not count what another part does within it, and counts the processes
that it starts. Its memory is the peak of the process while it works, which holds what earlier parts left.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.databases import BENCHED
from benchmarks.scale import demo_roots

REST = "rest"
LEAST = 0.05
"""CPU seconds of a part that is listed."""
ORDER = (
    "imports",
    "simulate",
    "cohort",
    "embed",
    "loggers",
    "training",
    "validation",
    "checkpoints",
    "scoring",
    "figures",
    REST,
)
GROWN = ("experiment=mimic", "embed.text.encoder=hashed_ngrams", "embed.image.encoder=small")
"""The run whose growth is measured: all stages, none of which fetches anything."""
SIZES = (1, 4, 16)
"""Multiples of the subjects of the smallest run."""
RESET_PEAK = "5"
"""What Linux takes to forget the peak of a process's memory."""


class Parts:
    """CPU seconds and peak of memory of parts that may lie within each other."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.megabytes: dict[str, float] = {}
        self._within = [REST]
        self._since = 0.0

    def wrap(self, owner: Any, name: str, part: str) -> None:
        """Count a function of a module or class as a part."""
        work: Callable[..., Any] = getattr(owner, name)

        @wraps(work)
        def counted(*given: Any, **named: Any) -> Any:
            self.begin(part)
            try:
                return work(*given, **named)
            finally:
                self.end()

        setattr(owner, name, counted)

    def begin(self, part: str) -> None:
        """A part begins, within the present one."""
        self._turn()
        self._within.append(part)

    def end(self) -> None:
        """The present part ends."""
        self._turn()
        self._within.pop()

    def _turn(self) -> None:
        now, part = cpu_seconds(), self._within[-1]
        self.seconds[part] = self.seconds.get(part, 0.0) + now - self._since
        self.megabytes[part] = max(self.megabytes.get(part, 0.0), peak_megabytes())
        self._since = now


def cpu_seconds() -> float:
    """Of this process and of those of its children that have ended."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + ended.ru_utime + ended.ru_stime


def peak_megabytes() -> float:
    """Peak of this process's memory since the last call."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    peak = next(line for line in lines if line.startswith("VmHWM:"))
    Path("/proc/self/clear_refs").write_text(RESET_PEAK, encoding="utf-8")
    return int(peak.split()[1]) / 1024


def work_of_parts() -> Sequence[tuple[Any, str, str]]:
    """Module or class, name of its function, and the part that its work is counted as; imports what a run does."""
    from mmnar_lightning import lean_torchmetrics

    lean_torchmetrics.install()  # as the program does
    from lightning.pytorch.loops.evaluation_loop import _EvaluationLoop

    from data_modules.datamodule import CohortDataModule
    from data_modules.simulate import release
    from mmnar_lightning.callbacks.checkpoints import AtomicCheckpointIO
    from mmnar_lightning.commands import train  # noqa: F401
    from mmnar_lightning.report import figures
    from mmnar_lightning.runs import build, fit, network, trainer

    return (
        (release, "simulate", "simulate"),
        (CohortDataModule, "prepare_data", "cohort"),
        (build, "embed", "embed"),
        (trainer, "build_loggers", "loggers"),
        (fit, "_fit", "training"),
        (_EvaluationLoop, "run", "validation"),
        (AtomicCheckpointIO, "save_checkpoint", "checkpoints"),
        (network, "_rectify_and_evaluate", "scoring"),
        (figures, "draw_results", "figures"),
    )


def inside(words: Sequence[str], report: Path) -> None:
    """One run, counted."""
    parts = Parts()
    parts.begin("imports")
    wrapped = work_of_parts()
    parts.end()
    for owner, name, part in wrapped:
        parts.wrap(owner, name, part)
    from mmnar_lightning import cli

    status = cli.main(["train", *words])
    parts.begin(REST)
    report.write_text(json.dumps({"seconds": parts.seconds, "megabytes": parts.megabytes}), encoding="utf-8")
    sys.exit(status)


def measured(place: Path, words: Sequence[str]) -> dict[str, dict[str, float]]:
    """Part -> CPU seconds, and part -> MB, of a run in an empty folder."""
    place.mkdir()
    report = place / "parts.json"
    command = [sys.executable, "-m", "benchmarks.train", "--inside", str(report), "trainer.progress_bar=false", *words]
    root = str(Path(__file__).resolve().parents[1])
    own = {name: value for name, value in os.environ.items() if name not in {"MIMIC_ROOT", "EICU_ROOT", "COHORT"}}
    subprocess.run(command, cwd=place, env=own | {"PYTHONPATH": root}, check=True, stdout=subprocess.DEVNULL)
    found: dict[str, dict[str, float]] = json.loads(report.read_text(encoding="utf-8"))
    return found


def demo_run() -> dict[str, list[str]]:
    """Name and settings of the run on the open demo of MIMIC-IV; empty, saying so, where it is not found."""
    roots = demo_roots(BENCHED["mimic"])
    name = f"`experiment={BENCHED['mimic'].experiment}` on the MIMIC-IV demo"
    return {} if roots is None else {name: [f"experiment={BENCHED['mimic'].experiment}", f"paths.mimic_root={roots}"]}


def print_shares(name: str, runs: Sequence[dict[str, float]]) -> None:
    """The parts of repeats of a run: medians of CPU seconds, least and most of all together, and per cent."""
    totals = sorted(sum(run.values()) for run in runs)
    found = {part: median(run.get(part, 0.0) for run in runs) for part in ORDER}
    print(f"| part of {name} | CPU s | share |\n|---|---|---|")
    for part in (part for part in ORDER if found[part] >= LEAST):
        print(f"| {part} | {found[part]:.1f} | {100 * found[part] / median(totals):.0f} % |")
    print(f"| all, of {len(runs)} runs {totals[0]:.1f} to {totals[-1]:.1f} | {median(totals):.1f} | |\n", flush=True)


def print_growth(runs: dict[int, dict[str, dict[str, float]]]) -> None:
    """The parts of runs of several sizes: seconds of the smallest, ratios to it, and MB."""
    sizes = list(runs)
    times = " | ".join(f"{size} x" for size in sizes[1:])
    print(f"\n| part | CPU s at 1 x | {times} | {' | '.join(f'MB at {size} x' for size in sizes)} |")
    print("|---" * (2 * len(sizes) + 1) + "|")
    for part in ORDER:
        seconds = [run["seconds"].get(part, 0.0) for run in runs.values()]
        ratios = [f"{own / seconds[0]:.1f}" if seconds[0] >= 0.1 else "" for own in seconds[1:]]
        memory = [f"{run['megabytes'].get(part, 0.0):.0f}" for run in runs.values()]
        print(f"| {part} | {seconds[0]:.1f} | {' | '.join([*ratios, *memory])} |", flush=True)


def main() -> None:
    """Measure in a temporary folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--subjects", type=int, default=750, help="of the smallest run of the growth")
    parser.add_argument("--epochs", type=int, default=3, help="of the runs of the growth")
    parser.add_argument("--repeats", type=int, default=2, help="of each whole run, in turns")
    parser.add_argument("--inside", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("settings", nargs="*", help="of the whole run, which has the defaults of `make train`")
    arguments = parser.parse_args()
    if arguments.inside:
        inside(arguments.settings, arguments.inside)
    with tempfile.TemporaryDirectory(prefix="mmnar-bench-") as scratch:
        wholes = {"`make train`": arguments.settings, **demo_run()}
        repeats = [
            {
                name: measured(Path(scratch) / f"{turn} {place}", words)
                for place, (name, words) in enumerate(wholes.items())
            }
            for turn in range(arguments.repeats)
        ]
        for name in wholes:
            print_shares(name, [repeat[name]["seconds"] for repeat in repeats])
        runs = {}
        for size in SIZES:
            words = [f"simulate.subjects={size * arguments.subjects}", f"trainer.max_epochs={arguments.epochs}"]
            runs[size] = measured(Path(scratch) / f"{size}x", [*GROWN, *words])
        print_growth(runs)


if __name__ == "__main__":
    main()
