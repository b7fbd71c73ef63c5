"""The section on how to repeat the run."""

from collections.abc import Mapping
from typing import Any

from mmnar_lightning.report.page import words
from mmnar_lightning.report.page.blocks import Block, Code, Facts, Section, Text
from mmnar_lightning.report.page.inputs import PageRun


def repeating(run: PageRun, program: Mapping[str, str]) -> Section:
    """Commands, versions and fingerprints.

    Args:
        run: of the page.
        program: what wrote the page: version and commit.

    Returns:
        The section.
    """
    found = run.results
    folder = f"runs/{found.experiment}/{found.run_id}"
    root = "" if found.simulated else _root(found.dataset)
    commands = [
        f"{root}mmnar train experiment={folder}/config.yaml   # the same settings, a new run",
        f"mmnar evaluate run={folder}   # prints the results again; test rows are read once",
        f"mmnar report run={folder}   # this page",
    ]
    pairs = [
        ("experiment", found.experiment),
        ("run", found.run_id),
        ("seed", str(found.seed)),
        ("fingerprint of the cohort", found.cohort or "several cohorts"),
        ("release", ", ".join(f"{name} {version}" for name, version in found.versions.items()) or "none stated"),
        ("packages of the cohort", _versions(run.cohort.packages if run.cohort else {})),
        ("packages of the model", _versions(run.packages)),
        *_environment(found.environment or {}),
        ("this page", ", ".join(f"{name} {value}" for name, value in program.items())),
    ]
    blocks: list[Block] = [
        Text("config.yaml holds every setting. The fingerprint digests the settings of the cohort and its raw files."),
        Code("\n".join(commands)),
        Facts(pairs),
        Code(run.yaml, summary="All settings, without folders of the machine"),
    ]
    return Section("repeat", "How to repeat it", blocks)


def _environment(found: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What the run was computed with; nothing in results of an earlier version."""
    if not found:
        return []
    dirty = " (changed)" if found.get("dirty") else ""
    gpus = words.joined(found["gpus"]) if found.get("gpus") else "no GPU"
    hardware = f"{found.get('processor')}, {found.get('cores')} cores, {found.get('memory_gb')} GB, {gpus}"
    packages = {"python": str(found.get("python")), **found.get("packages", {})}
    return [
        ("commit of the run", f"{found.get('commit') or 'no checkout'}{dirty}"),
        ("packages of the run", _versions(packages)),
        ("hardware of the run", hardware),
    ]


def _root(dataset: str) -> str:
    variables = {"custom": "COHORT=/path "}
    return variables.get(dataset, f"{dataset.upper()}_ROOT=/path ")


def _versions(packages: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in packages.items()) or "not known here"
