"""Urine, intake, output and balance: which cells count, what they add up to, and what is known at the landmark."""

import math

import pytest

from data_modules.databases.eicu.cohort import build_rows
from data_modules.databases.eicu.config import EICUCohortConfig
from tests.helpers.eicu import DAY, sources_of, stay, table_of, write_release

LOST = "results without a value"
URINE, INTAKE, DRAIN = "Output (ml)|Urine", "Intake (ml)|Generic Intake (ml)|P.O.", "Output (ml)|Chest Tube A Amount"


def cell(path, volume, *, at=DAY - 60, entered=None, stay_id=1):
    return {
        "patientunitstayid": stay_id,
        "intakeoutputoffset": at,
        "intakeoutputentryoffset": at if entered is None else entered,
        "cellpath": f"flowsheet|Flowsheet Cell Labels|I&O|{path}",
        "cellvaluenumeric": volume,
        # Of the flow sheet as it was after the stay: never read.
        "intaketotal": 7777,
        "outputtotal": 7777,
        "nettotal": 7777,
    }


def fluids(folder, *cells, config=None, **patient):
    """Columns of stay 1, None where it is absent, and what is counted."""
    patients = [stay(1, **{"admissionweight": 80, **patient}), stay(2)]
    release = write_release(folder / "raw", patients, intakeOutput=[*cells, cell("Weight|x", 1, stay_id=2)])
    rows = build_rows(release, EICUCohortConfig(**(config or {}))).rows
    context = sources_of(release, rows, folder / "scratch")
    table, present = table_of(context, "fluids", folder / "fluids")
    return table.row(0, named=True) if present[0] else None, context.counts.get(LOST, {}).get("fluids", {})


def sums_of(folder, *cells, **more):
    """Urine, intake, output and balance of 24 h; nothing if absent."""
    found, _ = fluids(folder, *cells, **more)
    return [] if found is None else [found[f"{name}_ml/24h"] for name in ("urine", "intake", "output", "balance")]


def test_urine_is_output_and_balance_is_intake_minus_output(tmp_path):
    found, counts = fluids(tmp_path, cell(URINE, 480), cell(DRAIN, 20), cell(INTAKE, 1000), cell(URINE, 480, at=9))
    assert [found[f"{name}_ml/24h"] for name in ("urine", "intake", "output", "balance")] == [960, 1000, 980, 20]
    assert found["urine_ml_per_kg_hour/24h"] == pytest.approx(960 / 80 / 24)
    assert found["balance_ml_per_kg/24h"] == pytest.approx(20 / 80)
    assert found["weight_kg"] == 80
    assert counts == {}


def test_urine_of_the_last_6_12_and_24_h(tmp_path):
    cells = [cell(URINE, 1, at=0), cell(URINE, 10, at=DAY - 719), cell(URINE, 100, at=DAY - 360)]
    found, _ = fluids(tmp_path, *cells)
    assert [found[f"urine_ml/{hours}h"] for hours in (6, 12, 24)] == [0, 110, 110]
    assert found["urine_ml_per_kg_hour/12h"] == pytest.approx(110 / 80 / 12)


def test_a_balance_needs_intake_and_output(tmp_path):
    for name, path in (("in", INTAKE), ("out", DRAIN)):
        assert math.isnan(sums_of(tmp_path / name, cell(path, 30))[-1])


def test_dialysis_is_intake_and_output(tmp_path):
    found = sums_of(tmp_path, cell("Dialysis (ml)|In", 300), cell("Dialysis (ml)|Out", 1700), cell(INTAKE, 50))
    assert found[1:] == [350, 1700, -1350]
    assert math.isnan(found[0])


@pytest.mark.parametrize(
    "label",
    [
        "URINE CATHETER", "Urinary Catheter Output: Indwelling/Continuous Ure", "Foley cath", "Voided Amount",
        "Output (mL)-Urethral Catheter Latex 14 Fr.", "Indwelling Catheter Output", "Nephrostomy",
        "Output (mL)-Straight Catheter",
    ],
)  # fmt: skip
def test_labels_of_urine(tmp_path, label):
    assert sums_of(tmp_path, cell(f"Output (ml)|{label}", 70))[0] == 70


@pytest.mark.parametrize("label", ["Mixed Urine/Stool Volume", "Stool", "Gastric (NG)"])
def test_other_output_is_no_urine(tmp_path, label):
    found = sums_of(tmp_path, cell(f"Output (ml)|{label}", 70))
    assert math.isnan(found[0])
    assert found[2] == 70


@pytest.mark.parametrize(
    "path",
    [
        "Output (ml)|Urine Count", "Output (ml)|unmeasured voids", "Output (ml)|Stool Occurrence",
        "Output (ml)|TOTAL OUT", "Intake (ml)|Total Intake ", "Intake (ml)|24 HR TOTAL INTAKE  0700-0659\tYes",
        "Intake (ml)|% Meal Eaten", "Intake (ml)|Total Amount (mcg)-fentaNYL PCA 50 mcg/mL", "Weight|Bodyweight (kg)",
    ],
)  # fmt: skip
def test_counts_shares_doses_weights_and_totals_are_no_volumes(tmp_path, path):
    assert sums_of(tmp_path, cell(path, 70)) == []


def test_a_total_of_a_kind_of_fluid_is_a_volume(tmp_path):
    assert sums_of(tmp_path, cell("Output (ml)|JP Drain Total", 70))[2] == 70


def test_an_impossible_volume_is_left_out_and_counted(tmp_path):
    found, counts = fluids(tmp_path / "two", cell(URINE, 5001), cell(URINE, 90, at=DAY - 120))
    assert found["urine_ml/24h"] == 90
    assert counts == {"urine out of range": 1}
    assert [math.isnan(value) for value in sums_of(tmp_path / "one", cell(URINE, 5001))] == [True] * 4


def test_an_impossible_sum_has_no_value_and_is_counted(tmp_path):
    found, counts = fluids(tmp_path, *(cell(URINE, 5000, at=DAY - at) for at in range(0, 700, 99)))
    names = ("urine_ml/12h", "urine_ml/24h", "output_ml/24h")
    assert counts == {f"{name} out of range": 1 for name in names}
    assert [math.isnan(found[name]) for name in (*names, "urine_ml_per_kg_hour/24h")] == [True] * 4
    assert found["urine_ml/6h"] == 20_000


def test_cells_entered_or_charted_after_the_landmark_are_absent(tmp_path):
    late = [cell(URINE, 70, entered=DAY + 1), cell(URINE, 70, at=DAY + 1, entered=DAY)]
    assert sums_of(tmp_path / "late", *late) == []
    assert sums_of(tmp_path / "on", *late, cell(URINE, 7, at=DAY, entered=DAY))[0] == 7


def test_the_window_is_24_h_and_may_begin_before_the_unit(tmp_path):
    cells = [cell(URINE, 1, at=-60), cell(URINE, 10, at=0), cell(URINE, 100, at=1)]
    assert sums_of(tmp_path / "day", *cells)[0] == 100
    assert sums_of(tmp_path / "before", *cells[:2]) == []
    found, _ = fluids(tmp_path / "short", *cells, lasts=720, config={"landmark": "unit_discharge"})
    assert found["urine_ml/24h"] == 111
    assert found["urine_ml_per_kg_hour/12h"] == pytest.approx(100 / 80 / 12)
    assert math.isnan(found["urine_ml_per_kg_hour/24h"])


@pytest.mark.parametrize("weight", ["", 5])
def test_without_a_plausible_weight_no_volume_is_per_kg(tmp_path, weight):
    found, _ = fluids(tmp_path, cell(URINE, 480), admissionweight=weight)
    rates = ("urine_ml_per_kg_hour/24h", "weight_kg")
    assert [found["urine_ml/24h"], *(math.isnan(found[name]) for name in rates)] == [480, True, True]
