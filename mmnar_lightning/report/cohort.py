"""Prints the counts of a cohort as tables; it loads no torch, so that neither does `mmnar cohort`."""

from collections.abc import Mapping
from typing import Any

from data_modules.cohorts.pretraining import COUNTS
from mmnar_lightning.console import say, show

MAX_PATTERNS = 16
"""Maximum number of patterns in a table or figure; the others are in manifest.json and results.json."""
MAX_GROUPS = 8
"""Maximum number of groups in a table; the others are in manifest.json and results.json."""


def show_cohort(manifest: Mapping[str, Any], min_count: int) -> None:
    """Print attrition, the most frequent patterns and, in a cohort with hospitals, presence in the largest of these.

    Args:
        manifest: of the cohort's folder.
        min_count: `privacy.min_count`.
    """
    attrition = [
        [entry["rule"], *(_count(entry[key], min_count) for key in ("rows", "subjects"))]
        for entry in manifest["attrition"]
    ]
    show("attrition", ["rule", "rows", "subjects"], attrition)
    if COUNTS in manifest["counts"]:
        left = _count(manifest["counts"][COUNTS][-1]["rows"], min_count)
        say(f"pre-training: {left} more rows of train subjects, without labels")
    names = ", ".join(modality["name"] for modality in manifest["modalities"])
    shown = [
        [entry["label"], entry["present"], _count(entry["rows"], min_count)]
        for entry in manifest["patterns"][:MAX_PATTERNS]
    ]
    show(f"patterns of {names}", ["pattern", "present", "rows"], shown)
    if "hospitals with" in manifest["counts"]:
        show_presence(manifest["counts"], min_count)


def show_presence(counts: Mapping[str, Any], min_count: int) -> None:
    """Print the share of rows with each modality, in the largest hospitals and in all others pooled.

    Args:
        counts: `counts` of a manifest, including the result of `hospitals.presence_by_hospital`.
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


def _share(count: int, total: int, min_count: int) -> str:
    masked = 0 < count < min_count or total < min_count
    return f"< {min_count}" if masked else f"{count / total:.0%}"


def _count(count: int, min_count: int) -> str:
    return str(count) if count == 0 or count >= min_count else f"< {min_count}"
