"""The tables on screen: what a cohort holds, and how its test rows were predicted."""

from collections.abc import Mapping
from typing import Any

from mmnar_lightning import results
from mmnar_lightning.console import say, show
from mmnar_lightning.metrics.intervals import METRICS
from mmnar_lightning.report.figures import MAX_PATTERNS


def show_cohort(manifest: Mapping[str, Any], min_count: int) -> None:
    """Attrition, the most frequent patterns and, where there are hospitals, how many of them have a modality.

    Args:
        manifest: of the cohort's folder.
        min_count: `privacy.min_count`.
    """
    left = [
        [entry["rule"], *(_count(entry[key], min_count) for key in ("rows", "subjects"))]
        for entry in manifest["attrition"]
    ]
    show("attrition", ["rule", "rows", "subjects"], left)
    names = ", ".join(modality["name"] for modality in manifest["modalities"])
    shown = [
        [entry["label"], entry["present"], _count(entry["rows"], min_count)]
        for entry in manifest["patterns"][:MAX_PATTERNS]
    ]
    show(f"patterns of {names}", ["pattern", "present", "rows"], shown)
    if "hospitals with" in manifest["counts"]:
        found = manifest["counts"]["hospitals with"].items()
        rows = [[name, _count(count, min_count)] for name, count in found]
        show(
            f"presence by hospital, of {manifest['counts']['hospitals']}", ["modality", "hospitals that have it"], rows
        )


def show_results(scored: Mapping[str, Any], min_count: int, simulated: bool) -> None:
    """One table a task: every pattern with its metrics and intervals.

    Args:
        scored: what `results.score` gives.
        min_count: `privacy.min_count`; smaller cells are masked.
        simulated: whether to say so in the title.
    """
    header = ["pattern", "rows (positive)", *(name.replace("_", " ") for name in METRICS)]
    for task, cells in results.mask_cells(scored, min_count).items():
        rows = results.table_rows(cells)
        hidden = 1 + len(cells["patterns"]) - len(rows)
        data = ", simulated data" if simulated else ""
        show(f"{task}, test split{data}, 95 % intervals clustered by subject", header, rows)
        if hidden:
            say(f"patterns with fewer than {min_count} rows, masked here but not in results.json: {hidden}")


def show_parts(scored: Mapping[str, Any], min_count: int, num_parts: int) -> None:
    """What stands beside metrics that were averaged: those over all folds together, and where they were undefined.

    Args:
        scored: what `results.score` gives with folds or repeats.
        min_count: `privacy.min_count`; smaller cells are masked.
        num_parts: how many repeats of folds there are.
    """
    for task, cells in results.mask_cells(scored, min_count).items():
        if cells["all"]["count"] is None:
            continue
        metrics = {name.replace("_", " "): cells["all"][name] for name in METRICS}
        pooled = [f"{name} {cell['pooled']:.2f}" for name, cell in metrics.items() if cell["pooled"] is not None]
        lacking = [
            f"{name} in {num_parts - cell['num_parts']}"
            for name, cell in metrics.items()
            if cell["num_parts"] < num_parts
        ]
        say(f"{task}: means over {num_parts} test sets; pooled {', '.join(pooled)}")
        if lacking:
            say(f"{task}: undefined, and left out of the mean: {', '.join(lacking)} of {num_parts}")


def _count(count: int, min_count: int) -> str:
    return str(count) if count == 0 or count >= min_count else f"< {min_count}"
