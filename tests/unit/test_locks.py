"""Locks between processes, and file systems that have none."""

import errno
import fcntl
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock, Timeout

from data_modules import locks, stage
from data_modules.errors import UserError
from mmnar_lightning.config.compose import load
from mmnar_lightning.config.experiment import ConfigError
from mmnar_lightning.runs import folders


def _refuse(number: int) -> Callable[..., None]:
    def flock(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    return flock


@pytest.fixture(params=[errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP], ids=errno.errorcode.get)
def without_flock(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a file system without locks."""

    monkeypatch.setattr(fcntl, "flock", _refuse(request.param))


def _never(folder: Path) -> None:
    pytest.fail("written without a lock")


def test_a_stage_names_a_file_system_without_locks_and_what_to_do(without_flock, tmp_path) -> None:
    with pytest.raises(
        UserError, match=r"file system \(.+ on /.*\) does not lock files .*paths\.data.*-o flock"
    ) as seen:
        stage.run_stage(tmp_path / "made", _never, "paths.data")
    assert "disk space" not in str(seen.value)


def test_a_run_names_a_file_system_without_locks(without_flock, tmp_path) -> None:
    config = load([f"paths.runs={tmp_path}"])
    with pytest.raises(UserError, match=r"does not lock files .*paths\.runs"), folders.opened(config):
        pytest.fail("trained without a lock")


def test_a_finished_folder_is_used_where_there_are_no_locks(tmp_path, monkeypatch) -> None:
    stage.run_stage(tmp_path / "made", lambda folder: stage.write_json(folder / stage.MANIFEST, {}), "paths.data")
    (tmp_path / ".other.partial").mkdir()
    monkeypatch.setattr(fcntl, "flock", _refuse(errno.ENOLCK))
    assert stage.run_stage(tmp_path / "made", _never, "paths.data") is False


def test_other_faults_of_a_lock_are_not_taken_for_a_missing_one(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(fcntl, "flock", _refuse(errno.EIO))
    with pytest.raises(OSError, match="Input/output error"):
        locks.require_locks(tmp_path)


def test_a_lock_that_another_process_holds_is_held(tmp_path) -> None:
    script = (
        "import sys; from filelock import FileLock; held = FileLock(sys.argv[1]); held.acquire(); "
        "print(1, flush=True); input()"
    )
    given = [sys.executable, "-c", script, str(tmp_path / "lock")]
    with subprocess.Popen(given, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        other.stdout.readline()
        with pytest.raises(locks.HeldError), locks.locked(tmp_path / "lock", wait=False):
            pytest.fail("both hold it")
        other.kill()
    with locks.locked(tmp_path / "lock", wait=False):
        pass


def test_a_lock_that_fails_inside_a_run_is_not_taken_for_that_of_the_run(tmp_path) -> None:
    config = load([f"paths.runs={tmp_path}"])
    with pytest.raises(Timeout), folders.opened(config):
        raise Timeout("of some library")
    os.environ.pop(folders.RUN_ID_VARIABLE, None)


def test_a_run_that_is_held_is_refused_and_a_new_start_says_that_it_is_not_resumed(tmp_path, capsys) -> None:
    config = load([f"paths.runs={tmp_path}"])
    folder = folders.new_run(config)
    with FileLock(folder / folders.LOCK):
        assert folders.unfinished_run(config, folders.CONFIG) is None
        assert "is being trained by another process, so it is not resumed" in capsys.readouterr().out
        held = load([f"paths.runs={tmp_path}", f"resume={folder}"])
        with (
            pytest.raises(ConfigError, match="is being trained by another process"),
            folders.opened(held, folders.CONFIG),
        ):
            pytest.fail("trained twice")
    assert folders.unfinished_run(config, folders.CONFIG) == folder
