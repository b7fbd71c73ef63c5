"""Harmonised modalities on the open demos: the same columns, medians and ranges that only one unit allows."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from data_modules.cohorts.build import build_cohort
from data_modules.databases.eicu.config import EICUCohortConfig
from data_modules.databases.eicu.tables import EICU
from data_modules.databases.harmonised import concepts as harmonised
from data_modules.databases.mimic_iv.config import MIMICCohortConfig
from data_modules.databases.mimic_iv.tables import MIMIC_IV
from data_modules.databases.registry import database
from data_modules.features.store import open_values, read_columns
from data_modules.raw.reader import Release

pytestmark = pytest.mark.demo
NAMES = [name for name in database("mimic").modalities if name.startswith("harmonised_")]
WHOLE = [name for name in NAMES if name not in harmonised.DEMOGRAPHICS]
NURSED = {"harmonised_neurology", "harmonised_nurse_vitals"}
"""Of nurseCharting, which the demo of eICU here does not have."""
Values = Mapping[str, np.ndarray]


@pytest.fixture(scope="module")
def cohorts(tmp_path_factory, mimic_demo_roots, eicu_demo_roots, eicu_demo) -> tuple[Path, Path, Path]:
    """MIMIC-IV, and eICU with the original labs of a hundred patients and with rebuilt tables of all."""
    folder = tmp_path_factory.mktemp("demos")
    config = MIMICCohortConfig(index="every", landmark="icu_24h", in_unit=True, modalities=WHOLE)
    ours = build_cohort(database("mimic"), Release.parse(MIMIC_IV, mimic_demo_roots), config, folder)
    settings = EICUCohortConfig(index="every", modalities=WHOLE)
    # The rebuilt tables have many stays and few labs, the original rows of a hundred patients all labs.
    roots = (f"{eicu_demo}:{eicu_demo / 'subset_100_patients'}", eicu_demo_roots)
    original, rebuilt = (build_cohort(database("eicu"), Release.parse(EICU, root), settings, folder) for root in roots)
    return ours, original, rebuilt


def values(folder: Path, name: str) -> Values:
    """What is measured of each concept, a value a row: its mean; of fluids and scores each column."""
    if not (folder / "modalities" / name).is_dir():
        return {}
    table, found = open_values(folder / "modalities" / name), {}
    columns = read_columns(folder / "modalities" / name)
    whole = not any(column.endswith("/mean") for column in columns)
    for place, column in enumerate(columns):
        if whole or column.endswith("/mean"):
            found[column.removesuffix("/mean")] = table[np.isfinite(table[:, place]), place]
    return found


def of_both(cohorts, least: int) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Concept -> values of MIMIC-IV and of eICU, of the cohort with more of them, where both have so many."""
    ours, original, rebuilt = cohorts
    found = {}
    for name in WHOLE:
        theirs = [values(folder, name) for folder in (original, rebuilt)]
        for concept, mine in values(ours, name).items():
            other = max((one[concept] for one in theirs if concept in one), key=len, default=mine[:0])
            if min(len(mine), len(other)) >= least:
                found[f"{name.removeprefix('harmonised_')}/{concept}"] = (mine, other)
    return found


def test_both_demos_have_the_same_columns(cohorts) -> None:
    ours, _, rebuilt = cohorts
    for name in WHOLE:
        assert (rebuilt / "modalities" / name).is_dir() is (name not in NURSED)
        if name not in NURSED:
            assert read_columns(ours / "modalities" / name) == read_columns(rebuilt / "modalities" / name)
    counts = [folder / "modalities" / "harmonised_vitals" for folder in (ours, rebuilt)]
    assert max(float(np.nanmax(open_values(path)[:, 0])) for path in counts) == 24
    rates = open_values(ours / "modalities" / "harmonised_vasoactives")[:, 0]
    assert float(np.nanmax(rates)) == 24


# Where the 107 stays of one demo and the 1,622 of the other differ by more than a tenth: the ratio of medians.
# Of troponin T, MIMIC-IV records most results as below the limit; the rebuilt table of eICU has none of these.
OTHERS = {
    "wbc": 1.1, "bun": 0.84, "creatinine": 0.89, "ptt": 0.87, "fibrinogen": 0.7, "ast": 1.2, "ck_mb": 0.68, "po2": 1.18,
    "lactate": 1.17, "fio2": 1.33, "monocytes": 0.66, "troponin_t": 0.128,
    "oxygen_flow": 1.31, "pressure_support": 0.5, "peak_pressure": 0.858, "plateau_pressure": 0.816,
    "mean_airway_pressure": 0.836, "tidal_volume_spontaneous": 0.886, "minute_volume": 0.861, "propofol": 1.46,
    "norepinephrine_equivalents": 1.42, "sofa": 2.5, "urine_ml/6h": 1.5, "urine_ml/12h": 1.22, "urine_ml/24h": 1.29,
    "urine_ml_per_kg_hour/6h": 1.6, "urine_ml_per_kg_hour/12h": 1.38, "urine_ml_per_kg_hour/24h": 1.22,
    "intake_ml/24h": 2.07, "output_ml/24h": 1.55,
}  # fmt: skip
NEAR_ZERO = (
    "female", "base_excess", "eosinophils", "basophils", "balance", "device_", "ventilated", "noninvasive", "sofa/",
)  # fmt: skip
"""Beginnings of concepts of which a ratio says nothing."""


def test_medians_agree_so_units_do(cohorts) -> None:
    """A tenth is less than any factor between units: that of magnesium in mEq/L is 1.215."""
    pairs = {name.split("/", 1)[1]: pair for name, pair in of_both(cohorts, 30).items()}
    ratios = {
        concept: float(np.median(mine) / np.median(other))
        for concept, (mine, other) in pairs.items()
        if not concept.startswith(NEAR_ZERO)
    }
    assert len(ratios) == 71
    for concept, ratio in ratios.items():
        assert ratio == pytest.approx(OTHERS.get(concept, 1), rel=0.1), concept


def test_ranges_overlap(cohorts) -> None:
    """The median of each demo is among the middle nine tenths of the other, of whatever both have twenty values."""
    pairs = of_both(cohorts, 20)
    assert len(pairs) == 90
    for concept, (mine, other) in pairs.items():
        for one, another in ((mine, other), (other, mine)):
            low, high = np.quantile(another, [0.05, 0.95])
            assert low <= np.median(one) <= high, concept
