"""Where tables may lie: PhysioNet's layouts, several roots, several versions, any case."""

import shutil
from pathlib import Path

import pytest

from data_modules.databases.mimic_iv.tables import MIMIC_IV
from data_modules.raw.errors import SourceError
from data_modules.raw.reader import Release

HEADER = {name: ",".join(table.columns) + "\n1\n" for name, table in MIMIC_IV.tables.items()}


def put(folder: Path, *names: str, suffix: str = ".csv") -> Path:
    for name in names:
        file = folder / f"{MIMIC_IV.tables[name].path}{suffix}"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(HEADER[name])
    return folder


def opened(*roots: Path) -> Release:
    return Release.parse(MIMIC_IV, ":".join(map(str, roots)))


@pytest.mark.parametrize("above", ["", "physionet.org/files", "files"])
def test_the_layout_of_physionet_is_found_project_by_project_with_its_versions(tmp_path, above):
    put(tmp_path / above / "mimiciv/3.1", "patients", "icustays")
    put(tmp_path / above / "mimic-iv-note/2.2", "discharge_notes")
    put(tmp_path / above / "mimic-cxr-jpg/2.1.0", "cxr_metadata")
    release = opened(tmp_path)
    assert set(release.files) == {"patients", "icustays", "discharge_notes", "cxr_metadata"}
    assert release.versions() == {"mimiciv": "3.1", "mimic-iv-note": "2.2", "mimic-cxr-jpg": "2.1.0"}


@pytest.mark.parametrize("root", ["physionet.org", "physionet.org/files/mimiciv", "physionet.org/files/mimiciv/3.1"])
def test_a_root_may_point_anywhere_on_the_way_to_the_release(tmp_path, root):
    put(tmp_path / "physionet.org/files/mimiciv/3.1", "patients", "icustays")
    release = opened(tmp_path / root)
    assert set(release.files) == {"patients", "icustays"}
    assert release.versions() == {"mimiciv": "3.1"}


def test_a_project_folder_without_a_version_is_found(tmp_path):
    put(tmp_path / "mimiciv", "patients")
    assert opened(tmp_path).versions() == {"mimiciv": "unknown"}


@pytest.mark.parametrize("line", ["# MIMIC-IV Demo v2.2", "MIMIC-IV, version **2.2**, of 2023"])
def test_a_bare_release_shows_its_version_by_its_readme(tmp_path, line):
    put(tmp_path, "patients")
    (tmp_path / "README.md").write_text(line)
    assert opened(tmp_path).versions() == {"mimiciv": "2.2"}


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("HOSP/Patients.CSV", "Subject_ID,GENDER\n7,F\n"),
        ("MIMICIV/3.1/Hosp/PATIENTS.csv", "SUBJECT_ID,gender\n7,F\n"),
    ],
)
def test_names_of_folders_files_and_columns_may_have_any_case(tmp_path, path, text):
    file = tmp_path / path
    file.parent.mkdir(parents=True)
    file.write_text(text)
    assert opened(tmp_path).scan("patients", ["subject_id", "gender"]).collect().rows() == [(7, "F")]


def test_two_spellings_of_one_file_are_refused(tmp_path):
    put(tmp_path, "patients").joinpath("hosp/Patients.csv").write_text("subject_id,gender\n8,F\n")
    tmp_path.joinpath("hosp/patients.csv").write_text("subject_id,gender\n7,F\n")
    with pytest.raises(SourceError, match=r"hosp: Patients\.csv and patients\.csv differ only in upper and lower case"):
        opened(tmp_path)


@pytest.mark.parametrize("suffix", [".csv", ".csv.gz", ".CSV.GZ", ".Csv"])
def test_a_table_may_be_plain_or_gzip_in_any_case(tmp_path, make_synthetic, suffix):
    synthetic = make_synthetic(tmp_path).write("patients", suffix=suffix)
    assert synthetic.release().scan("patients", ["subject_id"]).collect().height == len(synthetic.rows["patients"])


@pytest.mark.parametrize("header", ["\ufeffsubject_id,gender\r\n", '"subject_id","gender"\n', " subject_id , gender\n"])
def test_a_header_may_have_a_byte_order_mark_quotes_or_spaces(tmp_path, header):
    put(tmp_path, "patients").joinpath("hosp/patients.csv").write_text(header + "7,F\n")
    assert opened(tmp_path).scan("patients", ["subject_id", "gender"]).collect().rows() == [(7, "F")]


def test_the_first_root_that_holds_a_table_wins(tmp_path):
    first = put(tmp_path / "a", "patients")
    second = put(tmp_path / "b", "patients", "icustays")
    release = opened(first, second)
    assert release.files["patients"].is_relative_to(first)
    assert release.files["icustays"].is_relative_to(second)


def test_the_first_root_wins_even_against_a_compressed_or_newer_table(tmp_path):
    first = put(tmp_path / "a", "patients")
    second = put(tmp_path / "b/mimiciv/3.1", "patients", suffix=".csv.gz")
    assert opened(first, second).files["patients"].is_relative_to(first)


def test_versions_that_differ_between_roots_are_all_reported(tmp_path):
    first = put(tmp_path / "a/mimiciv/3.1", "patients").parents[1]
    second = put(tmp_path / "b/mimiciv/2.2", "icustays").parents[1]
    assert opened(first, second).versions() == {"mimiciv": "2.2, 3.1"}


def test_of_several_versions_the_newest_is_read_by_number_and_not_by_letter(tmp_path):
    for version in ("2.2", "3.1", "10.0", "9.9.9"):
        put(tmp_path / "mimiciv" / version, "patients")
    assert opened(tmp_path).versions() == {"mimiciv": "10.0"}


def test_a_table_that_the_newest_version_lacks_is_missing_and_not_taken_from_an_older_one(tmp_path):
    put(tmp_path / "mimiciv/2.2", "patients", "labevents")
    put(tmp_path / "mimiciv/3.1", "patients")
    release = opened(tmp_path)
    assert release.missing(["patients", "labevents"]) == ["labevents"]
    assert release.versions() == {"mimiciv": "3.1"}


def test_an_empty_version_folder_hides_nothing(tmp_path):
    put(tmp_path / "mimiciv/2.2", "patients")
    (tmp_path / "mimiciv/3.1").mkdir()
    assert opened(tmp_path).versions() == {"mimiciv": "2.2"}


def test_a_root_that_does_not_exist_names_itself_and_the_setting(tmp_path):
    with pytest.raises(SourceError, match=r"nowhere: this folder does not exist\. Set paths\.mimic_root or MIMIC_ROOT"):
        opened(tmp_path / "nowhere")


def test_a_root_that_is_a_file_is_reported_as_such(tmp_path):
    (tmp_path / "root.csv").write_text("x")
    with pytest.raises(SourceError, match=r"root\.csv: this is a file, not a folder\. Set paths\.mimic_root"):
        opened(tmp_path / "root.csv")


@pytest.mark.parametrize("text", ["", ":"])
def test_no_root_at_all_names_the_setting(text):
    with pytest.raises(SourceError, match=r"MIMIC_ROOT: no folder is set\. Set"):
        Release.parse(MIMIC_IV, text)


@pytest.mark.parametrize("below", ["", "hosp"])
def test_a_folder_that_cannot_be_read_is_named_with_permission_as_the_remedy(tmp_path, monkeypatch, below):
    put(tmp_path, "patients")
    blocked, listed = tmp_path / below, Path.iterdir

    def forbid(self):
        if self == blocked:
            raise PermissionError(13, "Permission denied", str(self))
        return listed(self)

    monkeypatch.setattr(Path, "iterdir", forbid)
    with pytest.raises(SourceError, match=r"this folder cannot be read.*permission") as caught:
        opened(tmp_path)
    assert str(caught.value).startswith(f"{blocked}: ")


@pytest.mark.demo
def test_the_demo_and_its_rebuilt_chart_are_one_release_of_version_2_2(mimic_demo_roots):
    release = Release.parse(MIMIC_IV, mimic_demo_roots)
    assert release.versions() == {"mimiciv": "2.2"}
    assert release.missing([*release.schema.core_tables, "labevents", "chartevents"]) == []


def test_a_release_sees_what_was_copied_after_an_earlier_look(tmp_path):
    put(tmp_path, "patients")
    assert opened(tmp_path).missing(["icustays"]) == ["icustays"]
    put(tmp_path, "icustays")
    shutil.rmtree(tmp_path / "hosp")
    assert set(opened(tmp_path).files) == {"icustays"}
