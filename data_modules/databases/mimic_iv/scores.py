"""SOFA, SAPS II, OASIS and Charlson's index, from what is known at the landmark.

The window is the 24 h before the landmark; at `icu_24h` it is the first day in the unit, which the scores are made for.
Differences to the papers, which read the whole record: a value counts once it is stored, comorbidities are those that
were coded for earlier admissions, and a coma scale that a tube leaves incomplete counts as normal.
"""

from collections.abc import Mapping

import numpy as np
import polars as pl
from numpy.typing import NDArray

from data_modules.databases.mimic_iv import background, bedside
from data_modules.databases.mimic_iv.linking import windows
from data_modules.features import charlson, oasis, saps
from data_modules.features.modality import BuildContext, ColumnBlock
from data_modules.features.sofa import ORGANS, SofaValues, sofa_points
from data_modules.features.store import BoolArray, FloatArray, blocks

Array = NDArray[np.float64]
ROWS_AT_ONCE = 4096
ORGAN_COLUMNS = tuple(f"sofa/{organ}" for organ in ORGANS)
COLUMNS = (*ORGAN_COLUMNS, "sofa", "saps_ii", "oasis", "charlson", "charlson_with_age")
"""Columns of the modality: points; an organ without a value is not known, and counts as normal in the sum."""
TASK = "in_hospital_mortality"
"""What the equations of SAPS II and OASIS predict."""


def scores(context: BuildContext) -> ColumnBlock:
    """The columns `COLUMNS`; present where any value that they read was known in the 24 h."""

    def write(out: FloatArray) -> BoolArray:
        rows, before = windows(context.rows), background.known(context)
        urine = bedside.urine(context)
        present = np.zeros(rows.height, dtype=np.bool_)
        for block in blocks(rows.height, ROWS_AT_ONCE):
            part = rows[block]
            found = bedside.extremes(context, part, urine)
            present[block] = found["any"].to_numpy()
            joined = found.join(before, on="row_id", how="left", maintain_order="left")
            table = points({name: _array(joined[name]) for name in joined.columns if name not in {"row_id", "any"}})
            out[block] = np.where(present[block][:, None], table, np.nan)
        return present

    return ColumnBlock(list(COLUMNS), write)


def published(values: Mapping[str, Array]) -> dict[str, Array]:
    """The mortality in hospital by the equations of SAPS II and OASIS, and the points of SOFA and Charlson's index."""
    return {
        f"saps_ii/{TASK}": saps.saps_mortality(values["saps_ii"]),
        f"oasis/{TASK}": oasis.oasis_mortality(values["oasis"]),
        **{f"{name}/points": values[name] for name in ("sofa", "saps_ii", "oasis", "charlson", "charlson_with_age")},
    }


def _array(values: pl.Series) -> Array:
    array: Array = values.cast(pl.Float64).fill_null(float("nan")).to_numpy()
    return array


def points(values: Mapping[str, Array]) -> Array:
    """The points of N rows.

    Args:
        values: columns of `bedside.extremes` and `background.known`, each (N,), NaN = not known.

    Returns:
        (N, columns of `COLUMNS`) float64.
    """
    sofa = sofa_points(
        SofaValues(
            pf=values["pf"],
            pf_supported=values["pf_supported"],
            platelets=values["platelets_min"],
            bilirubin=values["bilirubin_total_max"],
            mbp=values["mbp_min"],
            dopamine=values["dopamine"],
            dobutamine=values["dobutamine"],
            epinephrine=values["epinephrine"],
            norepinephrine=values["norepinephrine"],
            gcs=values["gcs_total_min"],
            creatinine=values["creatinine_max"],
            urine=values["urine"],
        )
    )
    organs = np.where(sofa.known, sofa.points, np.nan)
    coded = values["coded"] == 1
    diseases = {name: values[name] == 1 for name in charlson.DISEASES}
    index = np.where(coded, charlson.charlson_points(diseases), np.nan)
    aged = index + charlson.age_points(values["age"])
    return np.column_stack([organs, sofa.total, _saps(values), _oasis(values), index, aged])


def _saps(values: Mapping[str, Array]) -> Array:
    surgical, elective = values["surgical"] == 1, values["elective"] == 1
    return saps.saps_points(
        saps.SapsValues(
            age=values["age"],
            heart_rate_min=values["heart_rate_min"],
            heart_rate_max=values["heart_rate_max"],
            sbp_min=values["sbp_min"],
            sbp_max=values["sbp_max"],
            temperature_max=values["temperature_max"],
            pf_supported=values["pf_supported"],
            urine=values["urine"],
            bun_max=values["bun_max"],
            wbc_min=values["wbc_min"],
            wbc_max=values["wbc_max"],
            potassium_min=values["potassium_min"],
            potassium_max=values["potassium_max"],
            sodium_min=values["sodium_min"],
            sodium_max=values["sodium_max"],
            bicarbonate_min=values["bicarbonate_min"],
            bilirubin_max=values["bilirubin_total_max"],
            gcs_min=values["gcs_total_min"],
            metastatic=values["metastatic_cancer"] == 1,
            hematologic=values["hematologic"] == 1,
            aids=values["aids"] == 1,
            scheduled_surgery=surgical & elective,
            unscheduled_surgery=surgical & ~elective,
        )
    )


def _oasis(values: Mapping[str, Array]) -> Array:
    return oasis.oasis_points(
        oasis.OasisValues(
            hours_before_unit=values["hours_before_unit"],
            age=values["age"],
            gcs_min=values["gcs_total_min"],
            heart_rate_min=values["heart_rate_min"],
            heart_rate_max=values["heart_rate_max"],
            mbp_min=values["mbp_min"],
            mbp_max=values["mbp_max"],
            respiratory_rate_min=values["respiratory_rate_min"],
            respiratory_rate_max=values["respiratory_rate_max"],
            temperature_min=values["temperature_min"],
            temperature_max=values["temperature_max"],
            urine=values["urine"],
            ventilated=values["ventilated_max"] == 1,
            elective_surgery=(values["surgical"] == 1) & (values["elective"] == 1),
        )
    )
