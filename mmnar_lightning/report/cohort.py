"""Prints the counts of a cohort as tables; it loads no torch, so that neither does `mmnar cohort`."""

from collections.abc import Mapping, Sequence
from typing import Any

from data_modules.cohorts.pretraining import COUNTS
from mmnar_lightning.console import say, show
from mmnar_lightning.metrics.suppression import Counts, hidden_cells, with_sum

LEFT = ("rows", "subjects")
MASKED = "masked"
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
    show("attrition", ["rule", *LEFT], attrition_rows(manifest["attrition"], min_count))
    if COUNTS in manifest["counts"]:
        left = _count(manifest["counts"][COUNTS][-1]["rows"], min_count)
        say(f"pre-training: {left} more rows of train subjects, without labels")
    names = ", ".join(modality["name"] for modality in manifest["modalities"])
    cells = {entry["label"]: Counts(entry["rows"], 0) for entry in manifest["patterns"]}
    hidden = hidden_cells({"": with_sum(cells)}, min_count)[""]
    shown = [
        [entry["label"], entry["present"], MASKED if entry["label"] in hidden else str(entry["rows"])]
        for entry in manifest["patterns"][:MAX_PATTERNS]
    ]
    if len(manifest["patterns"]) > MAX_PATTERNS:
        named = {entry["label"] for entry in manifest["patterns"][:MAX_PATTERNS]} - hidden
        rest = sum(entry["rows"] for entry in manifest["patterns"] if entry["label"] not in named)
        # Masked patterns are among them, so the sum shows no more than the total minus the rows above does.
        count = f"{len(manifest['patterns']) - len(named)} others, masked ones included"
        shown.append([count, "", str(rest) if named else MASKED])
    show(f"patterns of {names}", ["pattern", "present", "rows"], shown)
    if "hospitals with" in manifest["counts"]:
        show_presence(manifest["counts"], min_count)


def show_presence(counts: Mapping[str, Any], min_count: int) -> None:
    """Print the share of rows with each modality, in the largest hospitals and in all others pooled.

    Args:
        counts: `counts` of a manifest, including the result of `hospitals.presence_by_hospital`.
        min_count: `privacy.min_count`; small cells are masked. Hospitals are numbered, their ids are not shown.
    """
    entries = counts["presence by hospital"]
    large = [entry for entry in entries if entry["hospital_id"] is not None and entry["rows"] >= min_count][:MAX_GROUPS]
    columns, header = list(large), [str(number) for number in range(1, len(large) + 1)]
    if others := [entry for entry in entries if entry not in large]:
        names = ("hospitals", "rows", *counts["hospitals with"])
        columns.append({name: sum(entry[name] for entry in others) for name in names})
        header.append(f"{columns[-1]['hospitals']} others")
    totals = {title: Counts(entry["rows"], 0) for title, entry in zip(header, columns, strict=True)}
    present = {
        name: {title: Counts(entry["rows"], entry[name]) for title, entry in zip(header, columns, strict=True)}
        for name in counts["hospitals with"]
    }
    hidden = hidden_cells({name: with_sum(cells) for name, cells in {"rows": totals, **present}.items()}, min_count)
    rows = [["rows", "", *(MASKED if title in hidden["rows"] else str(cell.rows) for title, cell in totals.items())]]
    for name, ever in counts["hospitals with"].items():
        shares = [MASKED if title in hidden[name] else _share(cell) for title, cell in present[name].items()]
        rows.append([name, _count(ever, min_count), *shares])
    title = f"presence by hospital, of {counts['hospitals']}: the {len(large)} with the most rows, numbered"
    show(title, ["modality", "hospitals that have it", *header], rows)


def _share(counts: Counts) -> str:
    return f"{counts.positives / counts.rows:.0%}"


def shown_attrition(entries: Sequence[Mapping[str, Any]], min_count: int) -> list[tuple[str, int | None, int | None]]:
    """The lines of the attrition table, masked where a step to the next line that is shown would be small.

    Args:
        entries: of the manifest.
        min_count: `privacy.min_count`.

    Returns:
        Rule, and the rows and subjects that it leaves; None if masked.

    >>> entries = [{"rule": rule, "rows": left, "subjects": left} for rule, left in [("a", 50), ("b", 47), ("c", 20)]]
    >>> shown_attrition(entries, 10)
    [('a', None, None), ('b', 47, 47), ('c', 20, 20)]
    """
    lines: list[tuple[str, int | None, int | None]] = []
    after = (0, 0)
    for entry in reversed(entries):
        left = (int(entry[LEFT[0]]), int(entry[LEFT[1]]))
        is_shown = not any(0 < count - less < min_count for count, less in zip(left, after, strict=True))
        after = left if is_shown else after
        lines.append((entry["rule"], *(left if is_shown else (None, None))))
    return lines[::-1]


def attrition_rows(entries: Sequence[Mapping[str, Any]], min_count: int) -> list[list[str]]:
    """The lines of the attrition table as text.

    Args:
        entries: as of `shown_attrition`.
        min_count: likewise.

    Returns:
        Rule, rows and subjects of each.
    """
    return [
        [rule, *(MASKED if count is None else str(count) for count in counts)]
        for rule, *counts in shown_attrition(entries, min_count)
    ]


def _count(count: int, min_count: int) -> str:
    return str(count) if count == 0 or count >= min_count else f"< {min_count}"
