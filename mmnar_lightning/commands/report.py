"""`mmnar report`: writes the page of a run, or of several, as one HTML file (docs/report.md)."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from data_modules.settings import expand
from mmnar_lightning.config.experiment import ConfigError, ExperimentConfig
from mmnar_lightning.console import say
from mmnar_lightning.report.page.page import write_page
from mmnar_lightning.runs import environment, folders, published
from mmnar_lightning.runs.compared import compared
from mmnar_lightning.runs.newest import run_of
from mmnar_lightning.runs.run import scoring_of

ONE, SEVERAL = "report.html", "comparison.html"
"""Names of the page of one run, and of several."""


def report(config: ExperimentConfig) -> Path:
    """Write the page of `run`, the newest evaluated run if it is empty, or of `runs`.

    Returns:
        Its file: in `out`, or in the folder of the (first) run.

    Raises:
        ConfigError: if both are given, or the folder cannot be written.
    """
    named = [Path(expand(folder)) for folder in config.runs]
    if named and config.run:
        raise ConfigError(f"run={config.run} and runs=[...] were both given: give one run, or several")
    named = named or [run_of(config, folders.PUBLIC, parents=True)]
    runs = [published.read(folder, config) for folder in named]
    comparisons = []
    if len(named) > 1:
        min_count = max(run.results.masked_below or 0 for run in runs)
        scoring = replace(scoring_of(config), min_count=max(min_count, config.privacy.min_count))
        withheld = {task for run in runs for task, own in run.results.tasks.items() if own.all.count is None}
        comparisons = compared(named, scoring, withheld)
    target = Path(config.out or named[0]) / (ONE if len(runs) == 1 else SEVERAL)
    _write(target, write_page(runs, comparisons, program()))
    say(f"page: {target} ({target.stat().st_size / 1e6:.1f} MB)")
    return target


def _write(target: Path, page: str) -> None:
    partial = target.with_name(f".{target.name}.partial")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(page, encoding="utf-8")
        partial.replace(target)
    except OSError as error:
        raise ConfigError(
            f"{target.parent} cannot be written ({error.strerror}); give another folder by out="
        ) from error


def program() -> dict[str, str]:
    """What writes the page: the version and, in a checkout, the commit.

    Returns:
        Name -> value.
    """
    found = environment.describe()
    commit = {"commit": f"{found['commit']}{' (changed)' if found['dirty'] else ''}"} if found["commit"] else {}
    return {"mmnar-lightning": found["packages"]["mmnar-lightning"], **commit}


def run(config: ExperimentConfig, words: Sequence[str]) -> int:
    """Run the command; returns the exit status."""
    report(config)
    return 0
