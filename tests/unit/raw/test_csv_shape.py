"""CSV files whose rows another program would read otherwise: refused by file and line, in both databases."""

import csv
import gzip
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import polars as pl
import pytest

from data_modules.databases.eicu.tables import EICU
from data_modules.databases.mimic_iv.tables import MIMIC_IV
from data_modules.raw import blocks
from data_modules.raw.errors import SourceError
from data_modules.raw.reader import Release

AGAIN = "ownload it again"
TABLES = {
    "labevents": (MIMIC_IV, "hosp/labevents", ["labevent_id", "itemid", "charttime", "valuenum", "valueuom"]),
    "lab": (EICU, "lab", ["labid", "patientunitstayid", "labresultoffset", "labname", "labresult"]),
}
WIDTH = {name: len(schema.tables[name].columns) for name, (schema, *_) in TABLES.items()}


class Table:
    """A table of five rows with ids 1 to 5, which a test changes before it is read."""

    def __init__(self, name: str, root: Path) -> None:
        self.name, self.root = name, root
        self.schema, self.path, self.columns = TABLES[name]
        declared = list(self.schema.tables[name].columns)
        usual = {"charttime": "2150-01-01 08:00:00", "labname": "BUN", "valueuom": "mg/dL"}
        self.rows = [declared]
        for number in range(1, 6):
            cells = {**dict.fromkeys(declared, ""), **{column: str(number) for column in self.columns}, **usual}
            self.rows.append([cells[column] for column in declared])

    def at(self, line: int, column: str, cell: str) -> None:
        """Write a cell as it stands; lines count from 1, the header."""
        self.rows[line - 1][self.rows[0].index(column)] = cell

    @property
    def lines(self) -> list[str]:
        """The rows as text."""
        return [",".join(row) for row in self.rows]

    def write(self, content: bytes | None = None, suffix: str = ".csv.gz") -> Path:
        """Write the lines, or other bytes."""
        content = "".join(f"{line}\n" for line in self.lines).encode() if content is None else content
        file = self.root / f"{self.path}{suffix}"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(gzip.compress(content) if suffix.endswith(".gz") else content)
        return file

    def read(self) -> pl.DataFrame:
        """What a build reads."""
        release = Release(self.schema, [self.root])
        with release.explained():
            return release.scan(self.name, self.columns).collect()

    def refused(self, *said: str) -> str:
        """Read, and expect a refusal that names the file and says all this."""
        with pytest.raises(SourceError) as caught:
            self.read()
        message = str(caught.value)
        assert message.startswith(f"{self.root / self.path}.csv")
        for words in said:
            assert words in message
        return message


@pytest.fixture(params=list(TABLES))
def table(request, tmp_path) -> Table:
    """A table of each database."""
    return Table(request.param, tmp_path)


@pytest.fixture(params=[".csv", ".csv.gz"])
def suffix(request) -> str:
    """Both forms of a file."""
    return request.param


@pytest.mark.parametrize(("line", "surplus"), [(3, ["8"]), (6, ["", "", ""]), (2, ['"a,b"'])])
def test_a_row_with_surplus_fields_is_refused_by_its_line(table, suffix, line, surplus):
    table.rows[line - 1] += surplus
    table.write(suffix=suffix)
    width = WIDTH[table.name]
    table.refused(f"line {line} has {width + len(surplus)} fields, the header {width}", AGAIN)


def test_an_unquoted_comma_in_a_value_is_refused_and_a_quoted_one_is_not(table, suffix):
    column = {"labevents": "value", "lab": "labresulttext"}[table.name]
    table.at(4, column, '">9,80"')
    table.write(suffix=suffix)
    assert table.read().height == 5
    table.at(4, column, ">9,80")
    table.write(suffix=suffix)
    table.refused(f"line 4 has {WIDTH[table.name] + 1} fields", "quote the fields of that line")


@pytest.mark.parametrize("kept", [1, 4])
def test_a_row_with_too_few_fields_is_refused_by_its_line(table, suffix, kept):
    del table.rows[2][kept:]
    table.write(suffix=suffix)
    table.refused(f"line 3 has {kept} field{'s' * (kept > 1)}, the header {WIDTH[table.name]}", AGAIN)


def test_a_surplus_and_a_missing_field_do_not_cancel(table):
    table.rows[1].append("")
    table.rows[2].pop()
    table.write()
    table.refused(f"line 2 has {WIDTH[table.name] + 1} fields")


def test_the_line_of_a_fault_counts_the_lines_inside_of_quoted_fields_and_of_earlier_blocks(table, suffix, monkeypatch):
    monkeypatch.setattr(blocks, "CHUNK", 64)
    monkeypatch.setattr(blocks, "COMPRESSED", 16)
    column = {"labevents": "comments", "lab": "labresulttext"}[table.name]
    table.at(2, column, '"three\nlines, ""quoted""\nof text"')
    table.rows[3].append("8")
    table.write(suffix=suffix)
    table.refused(f"line 6 has {WIDTH[table.name] + 1} fields")


@pytest.mark.parametrize("size", [1, 7, 100])
def test_a_table_read_in_any_blocks_is_the_same(table, suffix, size, monkeypatch):
    column = {"labevents": "comments", "lab": "labresulttext"}[table.name]
    table.at(3, column, '"two\r\nlines, ""quoted"""')
    table.write(suffix=suffix)
    whole = table.read()
    monkeypatch.setattr(blocks, "CHUNK", size)
    monkeypatch.setattr(blocks, "COMPRESSED", size)
    assert table.read().equals(whole)
    assert whole.height == 5


@pytest.mark.parametrize("cut", [-20, -1])
def test_a_file_cut_inside_of_its_last_row_is_refused(table, suffix, cut):
    table.at(6, table.columns[-1], "123.5")
    file = table.write(suffix=".csv")
    content = file.read_bytes()[:cut]
    file.unlink()
    table.write(content, suffix)
    table.refused("line 6, the last, has no line end: the file was cut there", AGAIN)


def test_a_file_cut_inside_of_a_quoted_field_is_refused_by_the_line_that_opens_it(table, suffix):
    column = {"labevents": "comments", "lab": "labresulttext"}[table.name]
    table.at(5, column, '"two\nlin')
    table.write(suffix=suffix)
    table.refused("line 5 opens a quotation mark that is never closed", "close the quotation mark")


def test_a_quotation_mark_that_is_never_closed_is_found_before_the_file_is_read(table, monkeypatch):
    monkeypatch.setattr(blocks, "LONGEST_ROW", 2000)
    monkeypatch.setattr(blocks, "CHUNK", 500)
    column = {"labevents": "comments", "lab": "labresulttext"}[table.name]
    table.at(3, column, '"open')
    table.rows += table.rows[3:4] * 1000
    read, usual = [], Path.open
    file = table.write(suffix=".csv")

    class Counted:
        def __init__(self, handle):
            self.handle = handle

        def read(self, size):
            read.append(size)
            return self.handle.read(size)

        def __enter__(self):
            return self

        def __exit__(self, *_):
            self.handle.close()

    monkeypatch.setattr(Path, "open", lambda path, *rest: Counted(usual(path, *rest)))
    table.refused("line 3 opens a quotation mark")
    assert sum(read) < 5000 < file.stat().st_size


@pytest.mark.parametrize("cell", ['5" tube', '"5" tube', 'a"b"'])
def test_a_quotation_mark_inside_of_a_field_is_refused(table, cell):
    column = {"labevents": "value", "lab": "labresulttext"}[table.name]
    table.at(4, column, cell)
    table.write()
    table.refused("line 4 has a quotation mark inside of a field", "double the quotation marks")


@pytest.mark.parametrize("ends", ["all", "rows", "one"])
def test_lone_carriage_returns_are_refused_with_the_remedy(table, suffix, ends):
    header, *rows = table.lines
    content = {
        "all": "\r".join([header, *rows, ""]),
        "rows": "\r".join([f"{header}\n{rows[0]}", *rows[1:], ""]),
        "one": "\n".join([header, f"{rows[0]}\r{rows[1]}", *rows[2:], ""]),
    }[ends]
    table.write(content.encode(), suffix)
    message = table.refused("carriage return (CR)", "onvert", "line ends")
    assert f"line {1 if ends == 'all' else 2}" in message


def test_a_lone_carriage_return_inside_of_an_unquoted_field_is_refused(table, suffix):
    table.at(4, {"labevents": "value", "lab": "labresulttext"}[table.name], "a\rb")
    table.write(suffix=suffix)
    table.refused("line 4 holds a carriage return (CR) that ends no line", "quote the field that holds the CR")


def test_cr_line_ends_in_a_table_of_notes_show_no_note(tmp_path):
    header = "note_id,subject_id,hadm_id,note_type,note_seq,charttime,storetime,text"
    file = tmp_path / "note" / "discharge.csv"
    file.parent.mkdir()
    file.write_bytes(("\r".join([header, *['n,1,2,DS,1,,,"SECRET' + " note" * 99 + '"'] * 500]) + "\r").encode())
    with pytest.raises(SourceError) as caught:
        Release(MIMIC_IV, [tmp_path]).scan("discharge_notes", ["note_id", "text"]).collect()
    assert "SECRET" not in str(caught.value)
    assert len(str(caught.value)) < 400


def test_carriage_returns_before_line_feeds_and_in_quoted_fields_are_read(table, suffix):
    column = {"labevents": "comments", "lab": "labname"}[table.name]
    table.at(3, column, '"a\rb"')
    content = "\r\n".join([*table.lines, ""]).encode()
    table.write(content, suffix)
    found = table.read()
    assert found.height == 5
    if table.name == "lab":
        assert found["labname"].to_list() == ["BUN", "a\rb", "BUN", "BUN", "BUN"]


def test_repeated_column_names_are_refused(table):
    names = table.rows[0]
    names[-1] = names[1].upper()
    table.write()
    table.refused(f"line 1 names a column more than once: {names[1]!r}", "ename or remove")


def test_repeated_columns_that_are_not_read_are_refused_too(table):
    for row, extra in zip(table.rows, ["mine", *"12345"], strict=True):
        row += [extra, extra]
    table.write()
    table.refused("line 1 names a column more than once: 'mine'")


@pytest.mark.parametrize("follows", [b"\n" * 200, b" \n\t\n", b"\n" * 1_100_000])
def test_blank_lines_alone_are_no_rows(table, suffix, follows):
    table.write(table.lines[0].encode() + b"\n" + follows, suffix)
    table.refused("this table has a header but no rows")


def test_blank_lines_between_rows_are_skipped(table):
    whole = table.write()
    expected = table.read()
    whole.unlink()
    table.rows[2:2] = [[""], [" "]]
    table.rows.append([""])
    table.write()
    assert table.read().equals(expected)
    table.rows[6][table.rows[0].index(table.columns[0])] = "x"
    table.write()
    table.refused(f"column {table.columns[0]!r} holds 1 of 5 values", "(the first in line 7)")


def test_a_byte_that_is_not_utf8_in_a_column_that_is_not_read_refuses_nothing(table, suffix):
    expected = (table.write(), table.read())[1]
    column = {"labevents": "comments", "lab": "labmeasurenamesystem"}[table.name]
    table.at(4, column, "BYTE")
    content = "".join(f"{line}\n" for line in table.lines).encode().replace(b"BYTE", b"caf\xe9 \xff\xfe")
    table.write(content, suffix)
    assert table.read().equals(expected)


def test_a_byte_that_is_not_utf8_in_a_column_that_is_read_is_named_with_its_line(table):
    column = {"labevents": "valueuom", "lab": "labname"}[table.name]
    table.at(4, column, "BYTE")
    content = "".join(f"{line}\n" for line in table.lines).encode().replace(b"BYTE", b"\xb5g")
    table.write(content)
    table.refused(f"column {column!r} holds 1 of 5 values that are not text in UTF-8 (the first in line 4)", "UTF-8")


@pytest.mark.parametrize("cell", ['" 7 "', "7 ", "seven", "7.5.1", "inf", "-Infinity", "1,5"])
def test_a_cell_that_is_no_number_names_file_column_and_line(table, cell):
    column = {"labevents": "valuenum", "lab": "labresult"}[table.name]
    table.at(5, column, cell if "," not in cell else f'"{cell}"')
    table.write()
    message = table.refused(f"column {column!r} holds 1 of 5 values that are not Float64 (the first in line 5)")
    assert "seven" not in message


@pytest.mark.parametrize("cell", ["nan", "NaN", '""', ""])
def test_a_number_that_is_nan_or_empty_is_null(table, cell):
    column = {"labevents": "valuenum", "lab": "labresult"}[table.name]
    table.at(5, column, cell)
    table.write()
    assert table.read()[column].to_list() == [1, 2, 3, None, 5]


def test_an_image_without_a_time_is_read_and_one_with_an_impossible_time_names_its_file(tmp_path):
    columns = list(MIMIC_IV.tables["cxr_metadata"].columns)
    file = tmp_path / "mimic-cxr-2.0.0-metadata.csv"
    row = dict.fromkeys(columns, "1") | {"StudyDate": "21500101"}

    def write(time: str) -> pl.LazyFrame:
        with file.open("w", newline="") as handle:
            csv.writer(handle).writerows([columns, [{**row, "StudyTime": time}[column] for column in columns]])
        return release.scan("cxr_metadata", ["dicom_id", "StudyTime"])

    file.touch()
    release = Release(MIMIC_IV, [tmp_path])
    assert write("nan").collect()["StudyTime"].to_list() == [None]
    with pytest.raises(SourceError, match=f"{file}: columns dicom_id, StudyTime: polars raised"), release.explained():
        write("1e30").select(pl.col("StudyTime").cast(pl.Int64)).collect()


MORNING = datetime(2150, 1, 1, 8, 30)


@pytest.mark.parametrize(
    "written",
    ["2150-01-01T08:30:00", "2150-01-01 08:30:00 UTC", "2150-01-01T08:30:00Z", "2150-01-01T08:30:00.000+00:00"],
)
@pytest.mark.parametrize("rows", [(2,), (2, 3, 4, 5, 6)])
def test_iso_times_with_t_or_utc_are_read(tmp_path, written, rows):
    table = Table("labevents", tmp_path)
    for row in rows:
        table.at(row, "charttime", written)
    table.write()
    assert table.read()["charttime"][: len(rows)].to_list() == [MORNING] * len(rows)
    assert table.read()["charttime"][-1] == (MORNING if len(rows) == 5 else datetime(2150, 1, 1, 8))


@pytest.mark.parametrize("written", ["2150-01-01T08:30:00+02:00", "01/02/2150 08:30", "2150-01-01T08", "SECRET"])
def test_other_times_are_refused_with_the_format_that_is_meant(tmp_path, written):
    table = Table("labevents", tmp_path)
    table.at(4, "charttime", written)
    table.write()
    message = table.refused("column 'charttime' holds 1 of 5 values that are not Datetime", "(the first in line 4)")
    assert "the format is YYYY-MM-DD HH:MM:SS" in message
    assert written not in message


@pytest.mark.parametrize("written", ["2150-03-04", "2150-03-04T00:00:00", "2150-03-04 00:00:00 UTC"])
def test_dates_written_as_midnights_are_read(synthetic, written):
    synthetic.rows["patients"][0]["dod"] = written
    scanned = synthetic.write("patients").release().scan("patients", ["dod"])
    assert str(scanned.collect()["dod"][0]) == "2150-03-04"


def test_a_gzip_of_several_members_padded_with_zeros_is_read(table):
    content = "".join(f"{line}\n" for line in table.lines).encode()
    expected = (table.write(), table.read())[1]
    parts = [gzip.compress(content[:90]), gzip.compress(content[90:]), b"\0" * 600]
    (table.root / f"{table.path}.csv.gz").write_bytes(b"".join(parts))
    assert table.read().equals(expected)


def test_what_polars_says_of_other_defects_is_withheld_too(synthetic):
    with pytest.raises(pl.exceptions.ColumnNotFoundError) as caught, synthetic.release().explained():
        synthetic.release().scan("admissions", ["hadm_id"]).select("SECRET").collect()
    assert "SECRET" not in str(caught.value)
    assert caught.value.__suppress_context__


def test_a_build_stops_at_a_surplus_field_of_a_row_that_no_filter_keeps(synthetic, refused: Callable[..., str]):
    synthetic.rows["labevents"][3] |= {"itemid": 1, "comments": "a,b"}
    assert "line 5 has 17 fields, the header 16" in refused(synthetic.write("labevents"))
