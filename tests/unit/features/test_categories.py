"""Every category of the releases is of one group."""

import polars as pl
import pytest

from data_modules.databases.eicu import demographics as eicu
from data_modules.databases.mimic_iv import demographics as mimic
from data_modules.features import categories

EXPECTED = {
    "race": {
        "asian": ["ASIAN", "ASIAN - ASIAN INDIAN", "ASIAN - CHINESE", "ASIAN - KOREAN", "ASIAN - SOUTH EAST ASIAN"],
        "black": ["BLACK/AFRICAN", "BLACK/AFRICAN AMERICAN", "BLACK/CAPE VERDEAN", "BLACK/CARIBBEAN ISLAND"],
        "hispanic": [
            "HISPANIC OR LATINO",
            *(
                f"HISPANIC/LATINO - {origin}"
                for origin in ("CENTRAL AMERICAN", "COLUMBIAN", "CUBAN", "DOMINICAN", "GUATEMALAN", "HONDURAN",
                               "MEXICAN", "PUERTO RICAN", "SALVADORAN")
            ),
            "SOUTH AMERICAN",
        ],
        "native": ["AMERICAN INDIAN/ALASKA NATIVE", "NATIVE HAWAIIAN OR OTHER PACIFIC ISLANDER"],
        "white": ["WHITE", "WHITE - BRAZILIAN", "WHITE - EASTERN EUROPEAN", "WHITE - OTHER EUROPEAN",
                  "WHITE - RUSSIAN", "PORTUGUESE"],
        "unknown": ["UNKNOWN", "UNABLE TO OBTAIN", "PATIENT DECLINED TO ANSWER"],
        "other": ["OTHER", "MULTIPLE RACE/ETHNICITY"],
    },
    "insurance": {
        "medicare": ["Medicare"],
        "medicaid": ["Medicaid"],
        "private": ["Private"],
        "other": ["Other", "No charge"],
    },
    "admission_type": {
        "emergency": ["EW EMER.", "DIRECT EMER.", "EMERGENCY"],
        "urgent": ["URGENT"],
        "observation": ["OBSERVATION ADMIT", "EU OBSERVATION", "DIRECT OBSERVATION", "AMBULATORY OBSERVATION"],
        "elective": ["ELECTIVE"],
        "surgical": ["SURGICAL SAME DAY ADMISSION"],
    },
    "admission_location": {
        "emergency": ["EMERGENCY ROOM"],
        "hospital": ["TRANSFER FROM HOSPITAL"],
        "skilled": ["TRANSFER FROM SKILLED NURSING FACILITY"],
        "referral": ["PHYSICIAN REFERRAL", "CLINIC REFERRAL", "WALK-IN/SELF REFERRAL"],
        "procedure": ["PROCEDURE SITE", "PACU", "AMBULATORY SURGERY TRANSFER"],
        "unknown": ["INFORMATION NOT AVAILABLE"],
        "other": ["INTERNAL TRANSFER TO OR FROM PSYCH"],
    },
    "marital_status": {
        "married": ["MARRIED"],
        "single": ["SINGLE"],
        "widowed": ["WIDOWED"],
        "divorced": ["DIVORCED"],
    },
    "language": {"english": ["English", "ENGLISH"], "other": ["Spanish", "?"]},
    "gender": {"f": ["F"], "m": ["M"]},
}  # fmt: skip
"""Column of MIMIC-IV -> group -> its categories, in versions 1.0 to 3.1."""


def groups_of(cells, column, expressions):
    """For each cell the groups of a column whose indicator is 1, and the values of all of them."""
    others = {name: pl.lit(None, pl.String) for name in {*mimic.GROUPS, *eicu.CATEGORIES} - {column}}
    frame = pl.DataFrame({column: cells}, schema={column: pl.String}).with_columns(**others)
    own = frame.select(one for one in expressions if one.meta.output_name().startswith(f"{column}/"))
    return [
        ([name.split("/", 1)[1] for name, value in row.items() if value == 1], set(row.values()))
        for row in own.iter_rows(named=True)
    ]


@pytest.mark.parametrize("column", EXPECTED)
def test_a_category_of_mimic_iv_is_of_its_group_alone(column):
    pairs = [(group, cell) for group, cells in EXPECTED[column].items() for cell in cells]
    expected = [([group], {0.0, 1.0}) for group, _ in pairs]
    assert groups_of([cell for _, cell in pairs], column, mimic.indicators()) == expected
    assert groups_of([f" {cell.title()} " for _, cell in pairs], column, mimic.indicators()) == expected


def test_every_group_of_mimic_iv_has_a_category():
    for column, groups in mimic.GROUPS.items():
        assert set(groups) <= set(EXPECTED[column])


@pytest.mark.parametrize("column", eicu.CATEGORIES)
def test_every_category_of_eicu_is_a_group_of_its_own(column):
    cells = [*eicu.CATEGORIES[column], "something else"]
    expected = [([cell], {0.0, 1.0}) for cell in [*eicu.CATEGORIES[column], "other"]]
    assert groups_of([cell.upper() for cell in cells], column, eicu.indicators()) == expected


def test_what_is_unknown_in_eicu_is_of_no_group():
    assert groups_of([None, "Unknown", " unknown "], "unittype", eicu.indicators()) == [([], {None})] * 3


def test_the_first_group_of_several_wins_and_a_cell_may_have_to_be_equal():
    groups = {"a": ["ab"], "b": ["abc", "b"]}
    frame = pl.DataFrame({"cell": ["abc", "b", "bc", "cb"]})
    begins = frame.select(categories.indicators(pl.col("cell"), "x", groups)).rows()
    equal = frame.select(categories.indicators(pl.col("cell"), "x", groups, exact=True)).rows()
    assert begins == [(1, 0, 0), (0, 1, 0), (0, 1, 0), (0, 0, 1)]
    assert equal == [(0, 1, 0), (0, 1, 0), (0, 0, 1), (0, 0, 1)]
