"""Vasoactive drugs and fluids of the MIMIC-IV demo, compared."""

import math
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl

from benchmarks.validation import compare, mimic_iv_events, mimic_iv_support
from benchmarks.validation.compare import Part
from benchmarks.validation.mimic_iv import Admission
from benchmarks.validation.plain import last_revisions, read, summary
from data_modules.databases.mimic_iv import sets, vasoactives
from data_modules.raw.reader import Release

CHARTED = ("count", "first", "last", "min", "max", "mean", "slope", "hours_since_last", "observed")
TABLES = ("inputevents", "outputevents")


class Support:
    """What the loops read of a release, by subject."""

    def __init__(self, release: Release) -> None:
        items = {str(item) for concept in sets.WEIGHT for item in concept.names}
        self.release = release
        self.given = mimic_iv_support.intervals(read(release.files["inputevents"]))
        self.lost = mimic_iv_support.outputs(read(release.files["outputevents"]))
        self.weights = mimic_iv_events.parsed(read(release.files["chartevents"], "itemid", items))

    def parts(
        self, title: str, rows: pl.DataFrame, admissions: Sequence[tuple[Admission, datetime]], scratch: Path
    ) -> Iterator[Part]:
        """Compare both modalities for the rows, whose admissions and landmarks are listed in their order."""
        expected = {
            "vasoactives": [self.drugs(row, at) for row, at in admissions],
            "fluids": [self.fluids(row, at) for row, at in admissions],
        }
        for name, table in expected.items():
            columns, found = compare.write("mimic", self.release, rows, name, scratch)
            empty = dict.fromkeys(columns, math.nan)
            yield compare.cells(Part(title, name), columns, found, [empty | row for row in table])

    def drugs(self, row: Admission, at: datetime) -> dict[str, float]:
        """The columns of the drugs."""
        acts = mimic_iv_support.acts(self.given.get(row["subject_id"], []), row, at)
        table = {"present": float(any(acts.values()))}
        for concept in vasoactives.WRITTEN:
            found = summary(acts.get(concept.name, []))
            table |= {f"{concept.name}/{part}": found[part] for part in CHARTED}
        return table

    def fluids(self, row: Admission, at: datetime) -> Mapping[str, Any]:
        """The columns of the fluids."""
        subject = row["subject_id"]
        charted = mimic_iv_events.acts_of(self.weights.get(subject, []), row, at, sets.WEIGHT, drawn=False)
        weight = summary(last_revisions(charted.get("weight", [])))["last"]
        return mimic_iv_support.fluids(self.given.get(subject, []), self.lost.get(subject, []), weight, row, at)
