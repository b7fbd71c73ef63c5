"""The tables on screen: what a cohort holds, and how its test rows were predicted."""

from collections.abc import Mapping
from typing import Any

from mmnar_lightning.console import say, show
from mmnar_lightning.metrics.intervals import METRICS
from mmnar_lightning.report import masking
from mmnar_lightning.report.figures import MAX_PATTERNS

MAX_GROUPS = 8
"""Groups on screen; results.json has all."""


def show_cohort(manifest: Mapping[str, Any], min_count: int) -> None:
    """Attrition, the most frequent patterns and, where there are hospitals, presence in each of the largest.

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
        show_presence(manifest["counts"], min_count)


def show_presence(counts: Mapping[str, Any], min_count: int) -> None:
    """Share of the rows that have each modality, in the largest hospitals and in all others together.

    Args:
        counts: `counts` of a manifest, with what `hospitals.presence_by_hospital` gives.
        min_count: `privacy.min_count`; smaller cells are masked. Hospitals are numbered, their ids are not shown.
    """
    entries = counts["presence by hospital"]
    large = [entry for entry in entries if entry["hospital_id"] is not None and entry["rows"] >= min_count][:MAX_GROUPS]
    columns, header = list(large), [str(number) for number in range(1, len(large) + 1)]
    if others := [entry for entry in entries if entry not in large]:
        names = ("hospitals", "rows", *counts["hospitals with"])
        columns.append({name: sum(entry[name] for entry in others) for name in names})
        header.append(f"{columns[-1]['hospitals']} others")
    rows = [["rows", "", *(_count(entry["rows"], min_count) for entry in columns)]]
    for name, ever in counts["hospitals with"].items():
        rows.append(
            [name, _count(ever, min_count), *(_share(entry[name], entry["rows"], min_count) for entry in columns)]
        )
    title = f"presence by hospital, of {counts['hospitals']}: the {len(large)} with the most rows, numbered"
    show(title, ["modality", "hospitals that have it", *header], rows)


def show_results(scored: Mapping[str, Any], min_count: int, simulated: bool) -> None:
    """One table a task: every pattern with its metrics and intervals.

    Args:
        scored: what `results.score` gives.
        min_count: `privacy.min_count`; smaller cells are masked.
        simulated: whether to say so in the title.
    """
    header = ["pattern", "rows (positive)", *(name.replace("_", " ") for name in METRICS)]
    for task, cells in masking.mask_cells(scored, min_count).items():
        rows = masking.table_rows(cells)
        hidden = 1 + len(cells["patterns"]) - len(rows)
        data = ", simulated data" if simulated else ""
        show(f"{task}, test split{data}, 95 % intervals clustered by subject", header, rows)
        if hidden:
            say(f"patterns with fewer than {min_count} rows, masked here but not in results.json: {hidden}")


def show_rectifier(content: Mapping[str, Any], min_count: int) -> None:
    """One table a task: what the rectifier adds to each pattern, and the calibration error before and after.

    Args:
        content: of results.json.
        min_count: `privacy.min_count`; smaller cells are masked.
    """
    offsets = masking.mask_offsets(content["rectifier"], min_count)
    before, after = (masking.mask_cells(content[name], min_count) for name in ("tasks", "rectified"))
    for task, table in offsets.items():
        rows = [["all", "", "", *_errors(before[task]["all"], after[task]["all"], content["mean_risk"][task]["all"])]]
        for name, entry in table["patterns"].items():
            if entry["count"] is not None and before[task]["patterns"][name]["count"] is not None:
                tau = f"{entry['tau']:.2f} ({entry['low']:.2f} to {entry['high']:.2f})"
                cells = (before[task]["patterns"][name], after[task]["patterns"][name])
                risk = content["mean_risk"][task]["patterns"][name]
                rows.append([name, f"{entry['count']} ({entry['positives']})", tau, *_errors(*cells, risk)])
        header = ["pattern", "calibration rows (positive)", "τ", "calibration error before", "after", "mean risk"]
        show(f"{task}, rectifier of strength {table['strength']:.1f}, 95 % intervals", header, rows)


def show_groups(groups: Mapping[str, Any], min_count: int) -> None:
    """One table a task: AUROC of the largest groups, of the small ones together, and within groups.

    Args:
        groups: `groups` of results.json.
        min_count: `privacy.min_count`; smaller groups are left out. Hospitals are numbered, their ids are not shown.
    """
    kind = groups["by"]
    for task, found in groups["tasks"].items():
        named = enumerate(found["groups"].items(), start=1)
        cells = [(name if kind == "year group" else f"{kind} {number}", cell) for number, (name, cell) in named]
        if found["pooled"] is not None:
            cells = [*cells[:MAX_GROUPS], (f"{found['pooled']['groups']} smaller ones together", found["pooled"])]
        rows = [
            [name, f"{cell['count']} ({cell['positives']})", masking.score_text(cell["auroc"])]
            for name, cell in cells[: MAX_GROUPS + 1]
            if cell["count"] >= min_count
        ]
        within = found["within"]
        rows.append([f"pairs of one {kind}, {within['groups']} of them", "", masking.score_text(within["auroc"])])
        show(f"{task} by {kind}, 95 % intervals clustered by subject", [kind, "rows (positive)", "auroc"], rows)


def _errors(before: Mapping[str, Any], after: Mapping[str, Any], risk: Mapping[str, Any]) -> list[str]:
    errors = [cell["calibration_error"] for cell in (before, after)]
    shown = ["" if error is None or error["value"] is None else f"{error['value']:.3f}" for error in errors]
    if risk["value"] is None:
        return [*shown, "too few rows"]
    return [*shown, f"{risk['value']:.3f} ({risk['low']:.3f} to {risk['high']:.3f})"]


def show_parts(scored: Mapping[str, Any], min_count: int, num_parts: int) -> None:
    """What stands beside metrics that were averaged: those over all folds together, and where they were undefined.

    Args:
        scored: what `results.score` gives with folds or repeats.
        min_count: `privacy.min_count`; smaller cells are masked.
        num_parts: how many repeats of folds there are.
    """
    for task, cells in masking.mask_cells(scored, min_count).items():
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


def _share(count: int, total: int, min_count: int) -> str:
    masked = 0 < count < min_count or total < min_count
    return f"< {min_count}" if masked else f"{count / total:.0%}"


def _count(count: int, min_count: int) -> str:
    return str(count) if count == 0 or count >= min_count else f"< {min_count}"
