"""A stage writes one folder: once, whole or not at all."""

import os
from pathlib import Path

import pytest

from data_modules import files, stage


def _write(folder: Path) -> None:
    (folder / "part.txt").write_text("whole")
    stage.write_json(folder / stage.MANIFEST, {})


def _never(folder: Path) -> None:
    raise AssertionError("the work is done twice")


def _shown(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.suffix != ".lock")


def test_a_folder_is_written_once_and_then_left_alone(tmp_path):
    target = tmp_path / "parent" / "made"
    assert stage.run_stage(target, _write, "paths.data") is True
    before = target.stat().st_mtime_ns
    assert stage.run_stage(target, _never, "paths.data") is False
    assert target.stat().st_mtime_ns == before
    assert _shown(target.parent) == ["made"]


@pytest.mark.parametrize("error", [ValueError("bad"), KeyboardInterrupt(), stage.StageError("inner")])
def test_a_write_that_stops_half_way_leaves_nothing_and_keeps_its_error(tmp_path, error):
    def half(folder: Path) -> None:
        (folder / "part.txt").write_text("half")
        raise error

    with pytest.raises(type(error)) as caught:
        stage.run_stage(tmp_path / "made", half, "paths.data")
    assert caught.value is error
    assert _shown(tmp_path) == []
    assert stage.run_stage(tmp_path / "made", _write, "paths.data")


def test_a_refused_write_names_folder_file_reason_and_setting(tmp_path):
    def refuse(folder: Path) -> None:
        raise OSError(28, "No space left on device", str(folder / "values.npy"))

    with pytest.raises(stage.StageError) as caught:
        stage.run_stage(tmp_path / "made", refuse, "paths.data")
    message = str(caught.value)
    assert message.startswith(f"{tmp_path / 'made'}: cannot be written (No space left on device: ")
    assert "values.npy" in message
    assert "set paths.data to another folder" in message
    assert _shown(tmp_path) == []


@pytest.mark.parametrize("name", [".made.partial", ".made.17-0badcafe.partial"])
def test_what_a_killed_build_left_is_removed_by_the_next(tmp_path, name):
    left = tmp_path / name
    left.mkdir()
    (left / "old.txt").write_text("old")
    (tmp_path / ".made.lock").touch()
    assert stage.run_stage(tmp_path / "made", _write, "paths.data")
    assert _shown(tmp_path) == ["made"]
    assert _shown(tmp_path / "made") == ["manifest.json", "part.txt"]


def test_a_folder_without_a_manifest_is_unfinished_and_is_replaced(tmp_path):
    (tmp_path / "made").mkdir()
    (tmp_path / "made" / "old.txt").write_text("old")
    assert stage.run_stage(tmp_path / "made", _write, "paths.data") is True
    assert _shown(tmp_path / "made") == ["manifest.json", "part.txt"]


def test_a_lock_that_cannot_be_opened_is_named(tmp_path):
    (tmp_path / ".made.lock").mkdir()
    with pytest.raises(stage.StageError, match=r"made: cannot be written \(.*\.made\.lock\).*paths\.data"):
        stage.run_stage(tmp_path / "made", _write, "paths.data")
    assert _shown(tmp_path) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may open any lock; test_a_lock_that_cannot_be_opened_is_named")
def test_a_lock_without_permission_is_named(tmp_path):
    lock = tmp_path / ".made.lock"
    lock.touch(mode=0o000)
    with pytest.raises(stage.StageError, match=r"Permission denied.*\.made\.lock"):
        stage.run_stage(tmp_path / "made", _write, "paths.data")


def test_a_file_in_place_of_the_folder_is_refused_and_kept(tmp_path):
    (tmp_path / "made").write_text("mine")
    with pytest.raises(stage.StageError, match="made: cannot be written"):
        stage.run_stage(tmp_path / "made", _write, "paths.data")
    assert (tmp_path / "made").read_text() == "mine"
    assert _shown(tmp_path) == ["made"]


def test_a_digest_depends_on_content_and_not_on_order():
    assert stage.digest({"a": 1, "b": [1, 2]}) == stage.digest({"b": [1, 2], "a": 1})
    assert stage.digest({"a": 1}) != stage.digest({"a": 2})
    assert len(stage.digest({})) == 12


def test_json_that_cannot_be_written_whole_leaves_what_was_there(tmp_path, monkeypatch):
    path = tmp_path / "results.json"
    stage.write_json(path, {"first": 1})

    def full(self, text, **_):
        with self.open("w") as file:
            file.write(text[: len(text) // 2])
        raise OSError("No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OSError, match="No space"):
        stage.write_json(path, {"second": 2})
    assert stage.read_json(path) == {"first": 1}


@pytest.mark.parametrize("is_finished", [False, True])
def test_what_a_killed_build_of_another_folder_left_is_removed(tmp_path, is_finished):
    if is_finished:
        stage.run_stage(tmp_path / "made", _write, "paths.data")
    left = tmp_path / ".other.17-0badcafe.partial" / ".scratch"
    left.mkdir(parents=True)
    (left / "labs.parquet").write_text("raw")
    assert stage.run_stage(tmp_path / "made", _write, "paths.data") is not is_finished
    assert _shown(tmp_path) == ["made"]


def test_a_build_that_still_runs_keeps_its_files(tmp_path):
    def both(folder: Path) -> None:
        stage.run_stage(tmp_path / "second", _write, "paths.data")
        _write(folder)

    assert stage.run_stage(tmp_path / "first", both, "paths.data")
    assert _shown(tmp_path / "first") == ["manifest.json", "part.txt"]


def test_two_builds_of_one_folder_write_into_folders_of_their_own(tmp_path):
    seen = []

    def stop(folder: Path) -> None:
        seen.append(folder.name)
        raise ValueError

    for _ in range(2):
        with pytest.raises(ValueError, match=r"^$"):
            stage.run_stage(tmp_path / "made", stop, "paths.data")
    assert len(set(seen)) == 2


def test_a_finished_folder_that_cannot_be_written_needs_no_lock(tmp_path):
    stage.run_stage(tmp_path / "made", _write, "paths.data")
    (tmp_path / ".made.lock").unlink()
    (tmp_path / ".made.lock").mkdir()  # as unusable as on a disk that is read only
    assert stage.run_stage(tmp_path / "made", _never, "paths.data") is False


def test_a_folder_is_private_whatever_the_umask(tmp_path):
    before = os.umask(0)
    try:
        stage.run_stage(tmp_path / "data" / "made", _write, "paths.data")
        assert os.umask(0) == 0
        with files.private(shared_group=True):
            stage.run_stage(tmp_path / "group" / "made", _write, "paths.data")
    finally:
        os.umask(before)
    rights = {"data": (0o700, 0o600), "group": (0o750, 0o640)}
    for name, (of_folders, of_files) in rights.items():
        modes = {path: path.stat().st_mode & 0o777 for path in (tmp_path / name, *(tmp_path / name).rglob("*"))}
        assert len(modes) == 5
        for path, mode in modes.items():
            assert path.suffix == ".lock" or mode == (of_folders if path.is_dir() else of_files), path
