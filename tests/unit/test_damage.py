"""What a stage wrote is verified when it is opened, and durable when it is finished."""

import json
import os
from pathlib import Path

import pytest

from data_modules import files, stage
from data_modules.errors import UserError

COMMAND = "mmnar cohort"


def _write(folder: Path) -> None:
    (folder / "part").mkdir()
    (folder / "part" / "values.npy").write_bytes(bytes(range(256)) * 100)
    (folder / "statistics.json").write_text('{"mean": [1.5]}')
    stage.write_json(folder / stage.MANIFEST, {"tasks": ["death"]})


@pytest.fixture
def made(tmp_path: Path) -> Path:
    stage.run_stage(tmp_path / "made", _write, "paths.data")
    return tmp_path / "made"


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_an_undamaged_folder_gives_the_manifest_as_it_was_written(made):
    assert stage.verify(made, COMMAND) == stage.read_manifest(made, COMMAND) == {"tasks": ["death"]}


@pytest.mark.parametrize("name", ["part/values.npy", "statistics.json"])
@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (_flip, "differs from what was written"),
        (Path.unlink, "is missing"),
        (lambda path: os.truncate(path, 7), "has 7 of"),
        (lambda path: path.write_bytes(path.read_bytes() + b" "), "has "),
    ],
)
def test_a_damaged_file_is_named_with_the_command_that_builds_it_again(made, name, damage, said):
    damage(made / name)
    with pytest.raises(stage.StageError) as caught:
        stage.verify(made, COMMAND)
    message = str(caught.value)
    assert f"{made} is damaged" in message
    assert f"{name} {said}" in message
    assert f"remove this folder, then `{COMMAND}`" in message


@pytest.mark.parametrize("count", [3, 500])
def test_of_many_files_that_threads_read_the_damaged_ones_are_named(tmp_path: Path, monkeypatch, count):
    monkeypatch.setattr(files, "SMALL_BYTES", 0)
    monkeypatch.setattr(files, "usable_cores", lambda: 2)

    def write(folder: Path) -> None:
        for number in range(count):
            (folder / f"{number:03d}").write_text(f"{number} of {count}")
        stage.write_json(folder / stage.MANIFEST, {})

    stage.run_stage(tmp_path / "made", write, "paths.data")
    described = stage.read_json(tmp_path / "made" / stage.MANIFEST)[stage.STORED]
    names = [f"{number:03d}" for number in range(count)]
    assert described == {name: files.describe(tmp_path / "made" / name) for name in names}
    assert not files.damage(tmp_path / "made", described)
    for name in (names[0], names[-1]):
        _flip(tmp_path / "made" / name)
    found = files.damage(tmp_path / "made", described)
    assert found == [f"{name} differs from what was written" for name in (names[0], names[-1])]


def test_all_damaged_files_are_named(made):
    _flip(made / "statistics.json")
    (made / "part" / "values.npy").unlink()
    with pytest.raises(UserError, match=r"values\.npy is missing; statistics\.json differs"):
        stage.verify(made, COMMAND)


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text.replace("death", "deatg"),
        lambda text: text.replace('"size": ', '"size": 1'),
        lambda text: text[: len(text) // 2],
        lambda text: "",
    ],
)
def test_a_damaged_manifest_is_named(made, damage):
    path = made / stage.MANIFEST
    path.write_text(damage(path.read_text()))
    for reader in (stage.verify, stage.read_manifest):
        with pytest.raises(UserError, match=r"made is damaged \(manifest\.json"):
            reader(made, COMMAND)


def test_a_manifest_that_is_no_text_is_named(made):
    (made / stage.MANIFEST).write_bytes(b"\xff\xfe{}")
    with pytest.raises(UserError, match=r"made is damaged \(manifest\.json"):
        stage.read_manifest(made, COMMAND)


def test_a_folder_without_a_manifest_is_named(tmp_path):
    with pytest.raises(UserError, match=r"made is damaged \(manifest\.json is missing\)"):
        stage.verify(tmp_path / "made", COMMAND)


def test_a_file_that_was_added_is_no_damage(made):
    (made / "notes.txt").write_text("mine")
    stage.verify(made, COMMAND)


def test_a_folder_of_an_earlier_version_is_opened_with_one_warning(tmp_path, caplog):
    folder = tmp_path / "old"
    folder.mkdir()
    stage.write_json(folder / stage.MANIFEST, {"tasks": []})
    assert stage.verify(folder, COMMAND) == stage.verify(folder, COMMAND) == {"tasks": []}
    assert [record.getMessage() for record in caplog.records] == [
        f"{folder} was written by an earlier version, which recorded no checksums: its files are not verified"
    ]


def test_an_amended_manifest_is_verified(made):
    stage.amend(made, {"verified": ["hosp/patients"]})
    assert stage.verify(made, COMMAND) == {"tasks": ["death"], "verified": ["hosp/patients"]}
    _flip(made / "part" / "values.npy")
    with pytest.raises(UserError, match="differs"):
        stage.verify(made, COMMAND)


def test_the_sum_is_crc32c(made):
    (made / "check").write_bytes(b"123456789")
    stage.seal(made)
    content = json.loads((made / stage.MANIFEST).read_text())
    assert content["stored"]["check"] == {"size": 9, "crc32c": "e3069283"}


def test_files_and_folders_reach_the_disk_before_the_rename_and_the_rename_after(tmp_path, monkeypatch):
    done: list[tuple[str, str]] = []
    usual = Path.rename

    def synced(handle: int) -> None:
        done.append(("sync", Path(f"/proc/self/fd/{handle}").resolve().name))

    def renamed(self: Path, to: Path) -> Path:
        done.append(("rename", to.name))
        return usual(self, to)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(Path, "rename", renamed)
    stage.run_stage(tmp_path / "made", _write, "paths.data")
    before, after = done[: done.index(("rename", "made"))], done[done.index(("rename", "made")) :]
    names = {name for _, name in before}
    assert {"values.npy", "statistics.json", "part", stage.MANIFEST} <= names
    assert any(name.startswith(".made.") for name in names)
    assert after == [("rename", "made"), ("sync", tmp_path.name)]
