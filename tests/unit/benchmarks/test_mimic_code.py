"""The comparison with mimic-code, with a concept file that the test writes."""

import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.validation import duck, mimic_code
from data_modules.databases.mimic_iv.concepts import LABS, VITALS
from tests.helpers.mimic_iv import Row, moment, write_release

CRP = """
CREATE TABLE mimiciv_derived.inflammation AS
SELECT subject_id, hadm_id, charttime, valuenum AS crp
FROM mimiciv_hosp.labevents WHERE itemid = 50889 AND valuenum > 0
"""
LANDMARK = 2.0
"""Day of the landmark of the bystander: a day after the admission to the unit."""


def crp(specimen: int, day: float, valuenum: float | None, **cells: Any) -> Row:
    usual = {"subject_id": 900, "hadm_id": 9000, "itemid": 50889, "valueuom": "mg/L", "specimen_id": specimen}
    times = {"charttime": moment(day), "storetime": moment(day, hours=1)}
    return {"labevent_id": specimen, **usual, **times, "value": "", "valuenum": valuenum, **cells}


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    folder = tmp_path / "checkout" / mimic_code.MEASUREMENT
    folder.mkdir(parents=True)
    (folder / "inflammation.sql").write_text(CRP, encoding="utf-8")
    return tmp_path / "checkout"


def printed(capsys, checkout: Path, folder: Path, rows: list[Row]) -> list[list[str]]:
    pytest.importorskip("duckdb")
    write_release(folder, labevents=rows)
    assert mimic_code.main({"MIMIC_CODE": str(checkout), "MIMIC_ROOT": str(folder)}) == 0
    lines = capsys.readouterr().out.splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


@pytest.mark.parametrize(
    ("more", "reasons"),
    [
        ([], "-"),
        ([crp(2, LANDMARK, 9.0)], "stored after the landmark: 2"),
        ([crp(2, 1.5, None, value="<3.0")], "text left out: 2"),
        ([crp(2, 1.5, 5000.0)], "other range: 2"),
        ([crp(2, 1.5, 0.0)], "0 and below left out: 2"),
        ([crp(2, LANDMARK, 9.0), crp(3, 1.5, 5000.0)], "stored after the landmark + other range: 2"),
        ([crp(2, 1.5, 9.0, hadm_id=None)], "-"),
    ],
)
def test_counts_and_means_are_compared_and_the_rule_that_differs_is_named(
    capsys, checkout, tmp_path, more, reasons
) -> None:
    table = printed(capsys, checkout, tmp_path / "root", [crp(1, 1.2, 4.0), *more])
    disagree = "0" if reasons == "-" else "2"
    assert table[0] == ["icu_24h", "inflammation", "1", "2", "2", disagree, reasons]


def test_a_difference_that_no_rule_gives_is_unexplained(capsys, checkout, tmp_path) -> None:
    file = checkout / mimic_code.MEASUREMENT / "inflammation.sql"
    file.write_text(CRP.replace("valuenum AS crp", "valuenum + 1 AS crp"), encoding="utf-8")
    table = printed(capsys, checkout, tmp_path / "root", [crp(1, 1.2, 4.0)])
    assert table[0][-2:] == ["1", "unexplained: 1"]


def test_a_column_that_their_table_lacks_is_counted(capsys, checkout, tmp_path) -> None:
    file = checkout / mimic_code.MEASUREMENT / "inflammation.sql"
    file.write_text(CRP.replace("AS crp", "AS c_reactive_protein"), encoding="utf-8")
    table = printed(capsys, checkout, tmp_path / "root", [crp(1, 1.2, 4.0)])
    assert table[0][-2:] == ["2", "no such column: 2"]


def test_every_concept_that_is_named_exists() -> None:
    for table, names in duck.NAMES.items():
        assert names.keys() <= {one.name for one in (VITALS if table in duck.CHARTED else LABS)}


def test_a_file_that_cannot_be_executed_is_named_without_a_cell(capsys, checkout, tmp_path) -> None:
    pytest.importorskip("duckdb")
    write_release(tmp_path / "root", labevents=[crp(1, 1.2, 4.0, value="SECRET")])
    file = checkout / mimic_code.MEASUREMENT / "inflammation.sql"
    file.write_text("SELECT value::INTEGER FROM mimiciv_hosp.labevents", encoding="utf-8")
    assert mimic_code.main({"MIMIC_CODE": str(checkout), "MIMIC_ROOT": str(tmp_path / "root")}) == 2
    message = capsys.readouterr().err
    assert "inflammation.sql" in message
    assert "SECRET" not in message


@pytest.mark.parametrize(
    ("code", "root", "expected"),
    [
        ("", "given", "MIMIC_CODE is not set"),
        ("empty", "given", "has none of the files"),
        ("checkout", "", "MIMIC_ROOT"),
    ],
)
def test_what_is_not_set_is_named(capsys, checkout, tmp_path, code, root, expected) -> None:
    environment = {"MIMIC_CODE": str(tmp_path / code) if code else "", "MIMIC_ROOT": str(tmp_path) if root else ""}
    assert mimic_code.main(environment) == 2
    assert expected in capsys.readouterr().err


def test_without_duckdb_the_extra_is_named(capsys, checkout, tmp_path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "duckdb", None)
    assert mimic_code.main({"MIMIC_CODE": str(checkout), "MIMIC_ROOT": str(tmp_path)}) == 2
    assert "mmnar-lightning[validation]" in capsys.readouterr().err
