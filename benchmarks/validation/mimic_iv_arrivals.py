"""Arrivals and electrocardiograms of MIMIC-IV, by plain loops; the open demo has neither table."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl

from benchmarks.validation import compare
from benchmarks.validation.compare import Part
from benchmarks.validation.mimic_iv import Admission, when
from benchmarks.validation.mimic_iv_events import belongs
from benchmarks.validation.plain import Act, Row, last_revisions, plain, read, summary
from data_modules.databases.mimic_iv import electrocardiograms, emergency
from data_modules.databases.registry import database
from data_modules.features.concepts import Concept
from data_modules.features.documents import DOCUMENTS
from data_modules.features.modality import BuildContext
from data_modules.raw.reader import Release

TABLES = ("edstays", "triage", "ed_vitalsign", "ecg_measurements")
CHARTED = ("count", "first", "last", "min", "max", "mean", "slope", "hours_since_last", "observed")
POINTS = {
    "p_duration": ("p_onset", "p_end"),
    "pr_interval": ("p_onset", "qrs_onset"),
    "qrs_duration": ("qrs_onset", "qrs_end"),
    "qt_interval": ("qrs_onset", "t_end"),
}
"""Interval -> the points of the machine where it begins and ends."""
NOWHERE = 29999
"""What the machine writes for a point that it did not find."""
Events = Mapping[str, Sequence[dict[str, Any]]]
"""Subject -> rows with times."""


def arrivals(stays: Iterable[Row], rows: Iterable[Row]) -> Events:
    """Rows of triage or vitalsign with the admission of their stay; triage has the time of the arrival."""
    of = {stay["stay_id"]: stay for stay in stays}
    found = defaultdict(list)
    for row in rows:
        stay = of[row["stay_id"]]
        charted = when(row.get("charttime", "") or stay["intime"])
        found[stay["subject_id"]].append({**row, "hadm_id": stay["hadm_id"], "charted": charted})
    return found


def recordings(rows: Iterable[Row]) -> Events:
    """Rows of machine_measurements, which name no admission."""
    found = defaultdict(list)
    for row in rows:
        found[row["subject_id"]].append({**row, **spans(row), "hadm_id": "", "charted": when(row["ecg_time"])})
    return found


def spans(row: Row) -> dict[str, str]:
    """The quantities of a recording, as texts; empty where a point was not found."""
    points = {name: row[name] for name in electrocardiograms.POINTS}
    numbers = {name: float(text) if text and float(text) != NOWHERE else None for name, text in points.items()}
    table = {name: "" if value is None else str(value) for name, value in numbers.items()}
    for name, (begin, end) in POINTS.items():
        first, last = numbers[begin], numbers[end]
        table[name] = "" if first is None or last is None else str(last - first)
    return table


def value_of(concept: Concept, text: str) -> float | None:
    """The number of a cell, Fahrenheit as Celsius; None where it is none, or implausible."""
    value = plain(text)
    if value is not None and concept.name == "temperature":
        value = (value - 32) / 1.8
    return value if value is not None and concept.low <= value <= concept.high else None


def known(events: Iterable[dict[str, Any]], row: Admission, at: datetime) -> list[tuple[float, dict[str, Any]]]:
    """Hours before a time, negative, and the events of an admission by then."""
    mine = [one for one in events if one["charted"] <= at and belongs(one, row)]
    return [((one["charted"] - at).total_seconds() / 3600, one) for one in mine]


def columns(
    events: Iterable[dict[str, Any]], concepts: Sequence[Concept], row: Admission, at: datetime
) -> dict[str, float]:
    """The columns of an admission, and its presence."""
    acts = defaultdict(list)
    for hours, event in known(events, row, at):
        for concept in concepts:
            text = event[str(concept.names[0])].strip()
            if text:
                stored = event["charted"]
                acts[concept.name].append(Act(hours, "", concept.name, True, stored, value_of(concept, text)))
    table = {"present": float(any(acts.values()))}
    for concept in concepts:
        found = summary(last_revisions(acts.get(concept.name, [])))
        table |= {f"{concept.name}/{part}": found[part] for part in CHARTED}
    return table


def complaint(event: Mapping[str, str]) -> str:
    """What a subject complained of at an arrival."""
    return event["chiefcomplaint"]


def report(event: Mapping[str, str]) -> str:
    """The lines of the machine's report."""
    return "\n".join(line for line in (event[name].strip() for name in electrocardiograms.REPORTS) if line)


def parts(
    title: str, release: Release, rows: pl.DataFrame, of_rows: Sequence[tuple[Admission, datetime]], scratch: Path
) -> Iterator[Part]:
    """Compare the tables and the texts, for the rows, whose admissions and landmarks are listed in their order."""
    tables = {name: read(release.files[name]) for name in TABLES}
    triage, signs = (arrivals(tables["edstays"], tables[name]) for name in ("triage", "ed_vitalsign"))
    made = recordings(tables["ecg_measurements"])
    for name, events, concepts in (
        ("ed_triage", triage, emergency.ED_TRIAGE),
        ("ed_vitals", signs, emergency.ED_VITALS),
        ("ecg", made, electrocardiograms.ELECTROCARDIOGRAM),
    ):
        written = compare.write("mimic", release, rows, name, scratch / name)
        expected = [columns(events.get(row["subject_id"], ()), concepts, row, at) for row, at in of_rows]
        yield compare.cells(Part(title, name), *written, expected)
    for name, events, text in (("chief_complaint", triage, complaint), ("ecg_report", made, report)):
        found = _texts(release, rows, name, scratch / name)
        said = {
            place: _said(events.get(row["subject_id"], ()), text, row, at) for place, (row, at) in enumerate(of_rows)
        }
        yield compare.labels(
            Part(title, name), ["texts"], *({key: [one.get(key, [])] for key in said} for one in (found, said))
        )


def _said(events: Iterable[dict[str, Any]], text: Any, row: Admission, at: datetime) -> list[tuple[float, str]]:
    return sorted((round(hours, 6), text(event)) for hours, event in known(events, row, at) if text(event).strip())


def _texts(release: Release, rows: pl.DataFrame, name: str, scratch: Path) -> dict[int, list[tuple[float, str]]]:
    """Row -> hours and texts that the package writes."""
    (scratch / "scratch").mkdir(parents=True)
    spec = database("mimic")
    context = BuildContext(
        release=release, rows=rows, tables=spec.read_tables(release), train=rows.select("row_id", "subject_id"),
        scratch=scratch / "scratch", min_vocabulary_subjects=1, max_vocabulary=9,
    )  # fmt: skip
    write = spec.modalities[name].files
    assert write is not None, f"{name} is no text"
    write(context, scratch / "texts")
    found = defaultdict(list)
    for row_id, hours, text in pl.read_parquet(scratch / "texts" / DOCUMENTS).select("row_id", "hours", "text").rows():
        found[row_id].append((round(hours, 6), text))
    return {row_id: sorted(texts) for row_id, texts in found.items()}
