"""Hospitals have codes outside of the cohort's folder, which has their key."""

from pathlib import Path

import polars as pl

from data_modules.cohorts import columns
from data_modules.cohorts.config import CustomCohortConfig
from data_modules.cohorts.custom import build_custom
from tests.conftest import write_custom_cohort

IDS = [90017, 90003, 90011, 90029]


def with_hospitals(folder: Path) -> pl.DataFrame:
    """A custom cohort whose rows are in four hospitals, or in none."""
    path = write_custom_cohort(folder) / "cohort.parquet"
    table = pl.read_parquet(path).sort("row_id")
    place = (pl.col("subject_id").str.slice(1).str.to_integer() % 11).replace_strict(
        dict(zip(range(11), [*IDS, *IDS[:3], *IDS[:2], IDS[0], None], strict=True))
    )
    table = table.with_columns(hospital_id=place)
    table.write_parquet(path)
    return table


def test_the_key_of_the_codes_is_in_the_folder_of_the_cohort(tmp_path: Path) -> None:
    table = with_hospitals(tmp_path / "given")
    folder = build_custom(tmp_path / "given", CustomCohortConfig(), tmp_path / "data")
    key = pl.read_csv(folder / columns.HOSPITALS)
    sizes = table["hospital_id"].drop_nulls().value_counts()
    ordered = sizes.sort(-pl.col("count").cast(pl.Int64), "hospital_id")["hospital_id"].to_list()
    assert key.rows() == [(f"H{number:03d}", hospital) for number, hospital in enumerate(ordered, start=1)]
    name, groups = columns.groups_of(pl.read_parquet(folder / "cohort.parquet"))
    assert name == "hospital"
    translated = groups.replace_strict(key["code"], key["hospital_id"], default=None)
    assert translated.to_list() == table["hospital_id"].to_list()


def test_a_code_does_not_depend_on_the_order_of_the_rows_or_on_the_split(tmp_path: Path) -> None:
    table = with_hospitals(tmp_path / "given")
    shuffled = table.sample(fraction=1, shuffle=True, seed=3)
    assert columns.hospital_codes(shuffled).equals(columns.hospital_codes(table))


def test_a_cohort_without_hospitals_has_no_key(tmp_path: Path) -> None:
    write_custom_cohort(tmp_path / "given")
    folder = build_custom(tmp_path / "given", CustomCohortConfig(), tmp_path / "data")
    assert not (folder / columns.HOSPITALS).exists()
    assert columns.groups_of(pl.read_parquet(folder / "cohort.parquet")) is None
