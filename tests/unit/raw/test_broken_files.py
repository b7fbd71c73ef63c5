"""Files that are not what the release says: one error that names file, column and remedy, and no cell."""

import gzip
import zlib
from pathlib import Path

import polars as pl
import pytest

from data_modules.raw.errors import SourceError

CORE = ("patients", "admissions", "icustays")
EVENTS = ("labevents", "chartevents", "prescriptions")


@pytest.mark.parametrize("name", CORE)
def test_a_missing_core_table_is_named_with_where_it_was_looked_for(synthetic, refused, name):
    synthetic.path(name).unlink()
    message = refused(synthetic)
    assert message.startswith("SourceError")
    assert f"{name}.csv.gz" in message
    assert str(synthetic.root) in message
    assert "paths.mimic_root or MIMIC_ROOT" in message


@pytest.mark.parametrize(
    ("name", "column", "written"),
    [
        ("admissions", "dischtime", "disch_time"),
        ("icustays", "intime", "INTIMES"),
        ("labevents", "valuenum", "valuenums"),
    ],
)
def test_a_renamed_column_is_named_with_the_nearest(synthetic, refused, name, column, written):
    header = synthetic.headers[name]
    header[header.index(column)] = written
    synthetic.write(name)
    message = refused(synthetic)
    assert (
        f"{synthetic.path(name)}: column {column!r} is missing; the closest name in the file is {written!r}" in message
    )
    assert "estore the header of the release" in message


@pytest.mark.parametrize(
    ("name", "column", "dtype"),
    [
        ("patients", "anchor_age", "Int64"),
        ("patients", "dod", "Date"),
        ("admissions", "dischtime", "Datetime"),
        ("icustays", "stay_id", "Int64"),
        ("labevents", "valuenum", "Float64"),
        ("labevents", "charttime", "Datetime"),
        ("chartevents", "storetime", "Datetime"),
        ("prescriptions", "starttime", "Datetime"),
    ],
)
def test_cells_of_the_wrong_type_are_counted_and_never_shown(synthetic, refused, name, column, dtype):
    for row in synthetic.rows[name][5:8]:
        row[column] = "Mrs SECRET"
    synthetic.write(name)
    message = refused(synthetic, hides="SECRET")
    assert f"{synthetic.path(name)}: column {column!r} holds 3 of {len(synthetic.rows[name])} values" in message
    assert f"not {dtype}" in message
    assert "Fix these cells" in message


def test_a_bad_cell_in_a_column_that_is_not_read_blames_nobody(synthetic, build):
    synthetic.rows["admissions"][3]["edouttime"] = "soon"
    assert build(synthetic.write("admissions")).is_dir()


def test_the_column_that_stopped_the_build_is_blamed_and_not_one_that_is_not_read(synthetic, refused):
    synthetic.rows["admissions"][3] |= {"edouttime": "soon", "hospital_expire_flag": "no"}
    assert "column 'hospital_expire_flag' holds 1" in refused(synthetic.write("admissions"))


def test_a_number_that_polars_reads_with_its_spaces_blames_nobody(synthetic, refused):
    synthetic.rows["labevents"][0]["itemid"] = " 50912"
    synthetic.rows["labevents"][1]["storetime"] = "yesterday"
    assert "column 'storetime' holds 1" in refused(synthetic.write("labevents"))


@pytest.mark.parametrize("name", ["admissions", "labevents"])
@pytest.mark.parametrize("share", [0.0, 0.5, 0.9])
def test_a_truncated_gzip_is_reported_as_such(synthetic, refused, name, share):
    noise = [f"{zlib.crc32(str(number).encode())}" for number in range(60_000)]
    text = synthetic.text(name) + "".join(f"{number},\n" for number in noise)
    whole = gzip.compress(text.encode())
    assert len(whole) > 200_000
    synthetic.path(name).write_bytes(whole[: max(20, int(share * len(whole)))])
    message = refused(synthetic)
    assert str(synthetic.path(name)) in message
    assert "truncated" in message or "unexpected end of file" in message
    assert "SHA256SUMS" in message


@pytest.mark.parametrize("name", ["admissions", "labevents"])
@pytest.mark.parametrize("at", [40, -6])
def test_a_damaged_gzip_is_reported_as_such(synthetic, refused, name, at):
    content = bytearray(synthetic.path(name).read_bytes())
    for position in range(at, at + 4):
        content[position] ^= 0xFF
    synthetic.path(name).write_bytes(content)
    message = refused(synthetic)
    assert str(synthetic.path(name)) in message
    assert "SHA256SUMS" in message


HTML = b"<!DOCTYPE html>\n<html><body>Please log in</body></html>\n"


@pytest.mark.parametrize("name", ["admissions", "labevents"])
@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (HTML, "not gzip"),
        (b"", "empty"),
        (gzip.compress(b""), "empty"),
        (gzip.compress(HTML), "not a CSV"),
        (gzip.compress(bytes(range(256)) * 40), "not a CSV"),
        (gzip.compress(b"subject_id;hadm_id;admittime\n1;2;3\n"), "not a CSV"),
        (bytes(range(256)) * 40, "not gzip"),
    ],
    ids=["page", "nothing", "empty gzip", "page in gzip", "binary in gzip", "semicolons", "binary"],
)
def test_a_file_that_is_no_csv_is_reported_as_such(synthetic, refused, name, content, problem):
    synthetic.path(name).write_bytes(content)
    message = refused(synthetic)
    assert str(synthetic.path(name)) in message
    assert problem in message
    assert "download it again" in message


@pytest.mark.parametrize("name", ["admissions", "labevents"])
@pytest.mark.parametrize(
    "tail",
    [b"\xff\xfe\xfd,\xff\n", b'"SECRET'],
    ids=["bytes that are no text", "a quote that never closes"],
)
def test_a_csv_that_breaks_half_way_is_reported_as_such(synthetic, refused, name, tail):
    cells = b"," * (synthetic.headers[name].index("hadm_id") + 1) if tail.startswith(b'"') else b""
    synthetic.write_bytes(name, synthetic.text(name).encode() + cells + tail)
    message = refused(synthetic, hides="SECRET")
    assert str(synthetic.path(name)) in message
    assert "download it again" in message or "Fix these cells" in message


@pytest.mark.parametrize("name", [*CORE, *EVENTS])
def test_a_table_without_rows_is_refused(synthetic, refused, name):
    synthetic.rows[name].clear()
    synthetic.write_bytes(name, synthetic.text(name).encode() + b"\n\n")
    message = refused(synthetic)
    assert f"{synthetic.path(name)}: this table has a header but no rows" in message


def test_a_file_that_cannot_be_read_is_no_write_problem(synthetic, refused, monkeypatch):
    blocked, opened = synthetic.path("labevents"), Path.open

    def forbid(self, *args, **kwargs):
        if self == blocked:
            raise PermissionError(13, "Permission denied", str(self))
        return opened(self, *args, **kwargs)

    monkeypatch.setattr(Path, "open", forbid)
    message = refused(synthetic)
    assert message.startswith(f"SourceError: {blocked}: this file cannot be read (Permission denied)")
    assert "permission" in message


def test_words_of_polars_that_may_quote_cells_are_withheld(synthetic):
    release = synthetic.release()
    release.scan("admissions", ["hadm_id"])
    with pytest.raises(SourceError, match="withheld") as caught, release.explained():
        pl.Series(["SECRET"]).str.to_datetime("%Y", strict=True)
    assert "SECRET" not in str(caught.value)
    assert caught.value.__suppress_context__
