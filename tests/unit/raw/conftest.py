"""A small made-up release: nobody in it exists."""

import gzip
import traceback
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from data_modules.cohorts.build import build_cohort
from data_modules.databases.mimic_iv.config import MIMICCohortConfig
from data_modules.databases.mimic_iv.tables import MIMIC_IV
from data_modules.databases.registry import database
from data_modules.raw.reader import Release

START = datetime(2150, 1, 1, 8)
NUM_SUBJECTS = 60
MODALITIES = ("demographics", "labs", "vitals", "medications")
Rows = list[dict[str, object]]


def _rows() -> dict[str, Rows]:
    tables: dict[str, Rows] = {
        name: []
        for name in ("patients", "admissions", "icustays", "labevents", "chartevents", "prescriptions", "pharmacy")
    }
    for subject in range(1, NUM_SUBJECTS + 1):
        tables["patients"].append(
            {
                "subject_id": subject,
                "gender": "F",
                "anchor_age": 60,
                "anchor_year": 2150,
                "anchor_year_group": "2011 - 2013",
            }
        )
        for visit in range(2):
            hadm = subject * 10 + visit
            admitted = START + timedelta(days=20 * visit + subject)
            ids = {"subject_id": subject, "hadm_id": hadm}
            tables["admissions"].append(
                ids
                | {"admittime": admitted, "dischtime": admitted + timedelta(days=4), "admission_type": "URGENT"}
                | {"hospital_expire_flag": 0}
            )
            tables["icustays"].append(
                ids | {"stay_id": hadm, "intime": admitted, "outtime": admitted + timedelta(days=2), "los": 2.0}
            )
            for hour in range(0, 48, 4):
                at = admitted + timedelta(hours=hour)
                event = ids | {"charttime": at, "storetime": at, "valuenum": 80.5 + hour % 7}
                number = hadm * 100 + hour
                tables["labevents"].append(event | {"labevent_id": number, "specimen_id": number, "itemid": 50912})
                tables["chartevents"].append(event | {"stay_id": hadm, "itemid": 220045})
            tables["prescriptions"].append(
                ids | {"starttime": admitted, "drug_type": "MAIN", "drug": "Aspirin", "pharmacy_id": hadm}
            )
            tables["pharmacy"].append(ids | {"starttime": admitted, "entertime": admitted, "pharmacy_id": hadm})
    return tables


class Synthetic:
    """A release in memory: change `rows`, `headers` or `raw`, then write it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.rows = _rows()
        self.headers: dict[str, list[str]] = {name: list(MIMIC_IV.tables[name].columns) for name in self.rows}

    def text(self, name: str) -> str:
        """A table as CSV."""
        columns = list(MIMIC_IV.tables[name].columns)
        lines = [",".join("" if row.get(c) is None else str(row[c]) for c in columns) for row in self.rows[name]]
        return "\n".join([",".join(self.headers[name]), *lines, ""])

    def path(self, name: str, suffix: str = ".csv.gz") -> Path:
        """Where a table lies under the root."""
        return self.root / f"{MIMIC_IV.tables[name].path}{suffix}"

    def write(self, *names: str, suffix: str = ".csv.gz") -> "Synthetic":
        """Write tables, all where none is named, below the root as bare hosp/ and icu/."""
        for name in names or self.rows:
            self.write_bytes(name, self.text(name).encode(), suffix)
        return self

    def write_bytes(self, name: str, content: bytes, suffix: str = ".csv.gz") -> Path:
        """Write a file of a table; gzip is applied where the name says so."""
        path = self.path(name, suffix)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(gzip.compress(content, mtime=0) if suffix.lower().endswith(".gz") else content)
        return path

    def release(self) -> Release:
        """Open it."""
        return Release(MIMIC_IV, [self.root])


@pytest.fixture
def synthetic(tmp_path: Path) -> Synthetic:
    """A whole release, written as hosp/ and icu/ with csv.gz."""
    return Synthetic(tmp_path / "release").write()


@pytest.fixture
def make_synthetic() -> Callable[[Path], Synthetic]:
    """Make another release at a root, not yet written."""
    return Synthetic


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """paths.data."""
    return tmp_path / "data"


@pytest.fixture
def build(data: Path) -> Callable[..., Path]:
    """Build a cohort of a synthetic release; settings are those of `cohort.`."""

    def run(synthetic: Synthetic, **settings: object) -> Path:
        settings.setdefault("modalities", list(MODALITIES))
        config = MIMICCohortConfig(**settings)  # type: ignore[arg-type]
        return build_cohort(database("mimic"), synthetic.release(), config, data)

    return run


@pytest.fixture
def refused(build: Callable[..., Path], data: Path) -> Callable[..., str]:
    """Build, expect one ValueError and nothing but hidden locks left; returns its message."""

    def run(synthetic: Synthetic, *, hides: str = "\0", **settings: object) -> str:
        with pytest.raises(ValueError) as caught:  # noqa: PT011 the callers compare the message
            build(synthetic, **settings)
        printed = "".join(traceback.format_exception(caught.value))
        assert hides not in printed
        assert "polars.exceptions" not in printed
        left = [path for path in data.rglob("*") if not (path.name.startswith(".") and path.suffix == ".lock")]
        assert [path for path in left if path != data / "cohorts"] == []
        return f"{type(caught.value).__name__}: {caught.value}"

    return run
