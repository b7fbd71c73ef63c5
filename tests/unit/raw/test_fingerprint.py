"""A cohort's folder is named after the bytes it came from, and is built once."""

import gzip
import random

from data_modules.raw.fingerprint import EDGE_BYTES, fingerprint


def test_a_large_gzip_changed_in_its_middle_has_another_fingerprint(tmp_path):
    content = bytearray(random.Random(0).randbytes(4 * EDGE_BYTES))
    first, second = tmp_path / "first.csv.gz", tmp_path / "second.csv.gz"
    first.write_bytes(gzip.compress(content, 1, mtime=0))
    content[len(content) // 2] ^= 1
    second.write_bytes(gzip.compress(content, 1, mtime=0))
    one, other = first.read_bytes(), second.read_bytes()
    assert len(one) == len(other) > 2 * EDGE_BYTES
    assert one[:EDGE_BYTES] == other[:EDGE_BYTES]
    assert one[-EDGE_BYTES:-8] == other[-EDGE_BYTES:-8]
    assert fingerprint(first) != fingerprint(second)


def test_a_plain_file_is_read_whole_so_that_its_middle_counts(tmp_path):
    content = bytearray(3 * EDGE_BYTES)
    file = tmp_path / "plain.csv"
    file.write_bytes(content)
    before = fingerprint(file)
    content[len(content) // 2] = 1
    file.write_bytes(content)
    assert fingerprint(file) != before


def test_the_same_bytes_elsewhere_have_the_same_fingerprint(tmp_path):
    for name in ("one.csv.gz", "other.csv.gz"):
        (tmp_path / name).write_bytes(b"same")
    assert fingerprint(tmp_path / "one.csv.gz") == fingerprint(tmp_path / "other.csv.gz")


def test_a_second_build_of_the_same_does_nothing(synthetic, build):
    folder = build(synthetic)
    before = {path: path.stat().st_mtime_ns for path in (folder, *folder.rglob("*"))}
    assert build(synthetic) == folder
    assert {path: path.stat().st_mtime_ns for path in (folder, *folder.rglob("*"))} == before


def test_a_changed_raw_file_or_setting_gives_another_folder(synthetic, build):
    folders = [build(synthetic), build(synthetic, min_age=20)]
    synthetic.rows["labevents"][0]["valuenum"] = 999.0
    folders.append(build(synthetic.write("labevents")))
    assert len(set(folders)) == 3
    assert all((folder / "manifest.json").is_file() for folder in folders)


def test_a_change_in_a_table_that_is_not_read_changes_nothing(synthetic, build):
    folder = build(synthetic, modalities=["demographics", "labs"])
    synthetic.rows["chartevents"].pop()
    assert build(synthetic.write("chartevents"), modalities=["demographics", "labs"]) == folder


def test_the_folder_does_not_depend_on_where_the_release_lies(tmp_path, synthetic, build, make_synthetic):
    moved = make_synthetic(tmp_path / "moved" / "mimiciv" / "3.1").write()
    assert build(moved) == build(synthetic)
