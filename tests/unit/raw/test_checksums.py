"""Files that differ from the ones that their publisher lists in SHA256SUMS.txt."""

import hashlib
import json
from contextlib import contextmanager
from pathlib import Path

import pytest

from data_modules.cohorts.build import build_cohort
from data_modules.databases.eicu.config import EICUCohortConfig
from data_modules.databases.eicu.tables import EICU
from data_modules.databases.registry import database
from data_modules.raw import checksums
from data_modules.raw.errors import SourceError
from data_modules.raw.reader import Release
from mmnar_lightning.cli import main
from tests.helpers.eicu import stay, write_release


def publish(root: Path, *, sign: str = "  ", more: str = "") -> Path:
    """Write the SHA256SUMS.txt of the tables as they are."""
    files = sorted(path for path in root.rglob("*.csv*") if path.is_file())
    sums = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}{sign}{path.relative_to(root)}" for path in files]
    listed = root / "SHA256SUMS.txt"
    listed.write_text("\n".join([*sums, f"{'0' * 64}{sign}hosp/not_downloaded.csv.gz", more, ""]))
    return listed


def damage(file: Path) -> None:
    """Change the modification time of a gzip header: every reader still accepts the file."""
    content = bytearray(file.read_bytes())
    content[4] ^= 1
    file.write_bytes(content)


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("sign", ["  ", " ", " *"])
def test_a_table_that_is_not_the_published_one_stops_the_build_before_it_begins(synthetic, refused, sign):
    publish(synthetic.root, sign=sign)
    for name in ("labevents", "admissions"):
        damage(synthetic.path(name))
    message = refused(synthetic, verify=True)
    assert f"{synthetic.path('admissions')}, {synthetic.path('labevents')}: these files" in message
    assert "differ from the one that SHA256SUMS.txt lists" in message
    assert "ownload it again" in message


def test_a_table_that_the_cohort_does_not_read_is_not_compared(synthetic, build):
    publish(synthetic.root)
    damage(synthetic.path("chartevents"))
    manifest = json.loads((build(synthetic, verify=True, modalities=["labs"]) / "manifest.json").read_text())
    assert manifest["verified"]["verified"] == [
        "hosp/admissions",
        "icu/icustays",
        "hosp/labevents",
        "hosp/patients",
    ]


def test_verification_changes_neither_the_name_of_a_cohort_nor_its_bytes(synthetic, build, tmp_path, data):
    publish(synthetic.root)
    plain = build(synthetic)
    before = files_of(plain)
    assert json.loads(before.pop("manifest.json"))["verified"] is None
    data.rename(tmp_path / "other")
    verified = build(synthetic, verify=True)
    assert verified.name == plain.name
    after = files_of(verified)
    manifest = json.loads(after.pop("manifest.json"))
    assert after == before
    assert manifest["verified"]["unlisted"] == []
    assert "verify" not in manifest["config"]


def test_a_cohort_that_exists_is_verified_once_and_its_manifest_says_so(synthetic, build, monkeypatch):
    publish(synthetic.root)
    folder = build(synthetic)
    compared, usual = [], checksums.differing
    monkeypatch.setattr(checksums, "differing", lambda *rest: compared.append(rest) or usual(*rest))
    for _ in range(2):
        assert build(synthetic, verify=True) == folder
    assert len(compared) == 1
    assert "hosp/labevents" in json.loads((folder / "manifest.json").read_text())["verified"]["verified"]


def test_a_cohort_that_exists_is_no_excuse_for_a_file_that_was_changed(synthetic, build):
    sums = publish(synthetic.root)
    build(synthetic)
    sums.write_text(sums.read_text().replace("a", "b"))
    with pytest.raises(SourceError, match="SHA256SUMS"):
        build(synthetic, verify=True)


def test_tables_of_a_second_folder_without_sums_are_recorded_as_unlisted(synthetic, build, caplog):
    publish(synthetic.root)
    sums = synthetic.root / "SHA256SUMS.txt"
    sums.write_text("".join(line for line in sums.read_text().splitlines(keepends=True) if "labevents" not in line))
    manifest = json.loads((build(synthetic, verify=True, modalities=["labs"]) / "manifest.json").read_text())
    verified = manifest["verified"]
    assert "SHA256SUMS.txt does not list hosp/labevents" in caplog.text
    assert verified["unlisted"] == ["hosp/labevents"]
    assert "hosp/labevents" not in verified["verified"]


@pytest.mark.parametrize("listed", [None, "0" * 64 + " LICENSE.txt\n"])
def test_a_release_that_lists_no_table_cannot_be_verified(synthetic, refused, listed):
    if listed:
        (synthetic.root / "SHA256SUMS.txt").write_text(listed)
    message = refused(synthetic, verify=True)
    assert f"{synthetic.root}: cohort.verify=true, but no SHA256SUMS.txt here lists a table" in message
    assert "set cohort.verify=false" in message


def test_a_list_that_is_another_file_is_named_with_its_line(synthetic, refused):
    sums = publish(synthetic.root, more="<html>Please log in</html>")
    number = len(sums.read_text().splitlines())
    message = refused(synthetic, verify=True)
    assert f"{sums}: line {number} is not a SHA-256 sum and a path" in message
    assert "log in" not in message


def test_progress_reaches_the_size_of_the_files(synthetic):
    publish(synthetic.root)
    counted: list[float] = []
    totals: list[int] = []

    @contextmanager
    def meter(what, total):
        totals.append(total)
        yield counted.append

    assert checksums.differing(checksums.published(synthetic.root), meter) == []
    size = sum(path.stat().st_size for path in synthetic.root.rglob("*.csv.gz"))
    assert totals == [size]
    assert sum(counted) == size


def test_an_eicu_table_is_found_under_the_spelling_of_the_list_and_verified(tmp_path):
    release = write_release(tmp_path / "root", [stay(1), stay(2)])
    sums = publish(tmp_path / "root")
    sums.write_text(sums.read_text().replace("patient.csv", "Patient.csv"))
    config = EICUCohortConfig(index="every", modalities=["demographics"], verify=True)
    folder = build_cohort(database("eicu"), release, config, tmp_path / "data")
    assert json.loads((folder / "manifest.json").read_text())["verified"]["verified"] == ["hospital", "patient"]
    file = tmp_path / "root" / "patient.csv"
    file.write_text(file.read_text().replace("Female", "Male"))
    with pytest.raises(SourceError, match=r"patient\.csv: this file differs"):
        build_cohort(database("eicu"), Release(EICU, [tmp_path / "root"]), config, tmp_path / "data")


@pytest.mark.parametrize("bar", ["true", "false"])
def test_the_doctor_names_every_damaged_file_and_ends_with_status_1(synthetic, workplace, capsys, bar):
    words = ["doctor", f"paths.mimic_root={synthetic.root}", f"trainer.progress_bar={bar}"]
    publish(synthetic.root)
    assert main(words) == 0
    assert "7 of 7 files are those that SHA256SUMS.txt lists" in capsys.readouterr().out
    damage(synthetic.path("chartevents"))
    synthetic.path("labevents").write_bytes(b"<html>")
    assert main(words) == 1
    said = capsys.readouterr().out
    for name in ("chartevents", "labevents"):
        assert f"{synthetic.path(name)}: this file differs from the one that SHA256SUMS.txt lists" in said
    assert f"{synthetic.path('labevents')}: this file is not gzip" in said
    assert "5 of 7 files" in said


def test_the_doctor_says_where_nothing_can_be_compared(synthetic, workplace, capsys):
    assert main(["doctor", f"paths.mimic_root={synthetic.root}"]) == 0
    assert f"{synthetic.root}: no SHA256SUMS.txt" in capsys.readouterr().out
