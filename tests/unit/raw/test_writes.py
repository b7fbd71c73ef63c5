"""A disk that refuses, a build that is killed, two builds at once."""

import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from data_modules import stage
from data_modules.raw.source import Source
from tests.helpers.forked import PATIENCE
from tests.helpers.paths import ROOT

SCRIPT = """
import sys, time
from pathlib import Path
from data_modules import stage
from data_modules.cohorts import build
from data_modules.databases.mimic_iv.config import MIMICCohortConfig
from data_modules.databases.mimic_iv.tables import MIMIC_IV
from data_modules.databases.registry import database
from data_modules.raw.reader import Release

root, data, marks = map(Path, sys.argv[1:4])
{before}
try:
    config = MIMICCohortConfig(modalities=["labs", "vitals"])
    print(build.build_cohort(database("mimic"), Release(MIMIC_IV, [root]), config, data))
except ValueError as error:
    print(type(error).__name__, error)
"""
FULL = "parquet: File out of specification: underlying IO error: No space left on device (os error 28)"


def _start(synthetic, data, marks, before=""):
    marks.mkdir(exist_ok=True)
    command = [sys.executable, "-c", SCRIPT.format(before=before), str(synthetic.root), str(data), str(marks)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def _wait_for(condition, seconds=PATIENCE):
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.02)


def _visible(data):
    return sorted(path.name for path in (data / "cohorts").iterdir() if path.suffix != ".lock")


@pytest.mark.parametrize(
    ("owner", "function", "error"),
    [
        (pl.LazyFrame, "sink_parquet", OSError(errno.ENOSPC, "No space left on device")),
        (pl.LazyFrame, "sink_parquet", pl.exceptions.ComputeError(FULL)),
        (pl.DataFrame, "write_parquet", OSError(errno.ENOSPC, "No space left on device")),
        (pl.DataFrame, "write_parquet", pl.exceptions.ComputeError(FULL)),
        (pl.DataFrame, "write_csv", OSError(errno.ENOSPC, "No space left on device")),
        (np.lib.format, "open_memmap", OSError(errno.ENOSPC, "No space left on device")),
        (stage, "write_json", OSError(errno.ENOSPC, "No space left on device")),
    ],
    ids=["scratch", "scratch by polars", "cohort", "cohort by polars", "attrition", "array", "manifest"],
)
def test_a_full_disk_is_reported_as_such_and_no_raw_file_is_read_again(
    synthetic, refused, data, monkeypatch, owner, function, error
):
    def refuse(*args, **kwargs):
        raise error

    def never(*args):
        raise AssertionError("a raw file is suspected of a full disk")

    monkeypatch.setattr(owner, function, refuse)
    monkeypatch.setattr(Source, "_cause", never)
    message = refused(synthetic)
    assert message.startswith(f"StageError: {data / 'cohorts' / 'cohort-'}")
    assert "cannot be written (No space left on device" in message
    assert "set paths.data to another folder" in message


def test_a_file_system_that_refuses_the_scratch_file_is_reported_as_such(synthetic, data, tmp_path):
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000))"
    process = _start(synthetic, data, tmp_path / "marks", limit)
    reported = process.communicate(timeout=PATIENCE)[0]
    assert reported.startswith(f"StageError {data}")
    assert "File too large" in reported
    assert "paths.data" in reported
    assert _visible(data) == []


def test_a_data_folder_below_a_regular_file_is_refused(synthetic, build, data):
    data.parent.mkdir(parents=True, exist_ok=True)
    data.write_text("a file")
    with pytest.raises(stage.StageError, match=r"cannot be written \(Not a directory.*paths\.data"):
        build(synthetic)
    assert data.read_text() == "a file"


def test_two_builds_at_once_make_one_folder_and_the_work_is_done_once(synthetic, data, tmp_path):
    marks = tmp_path / "marks"
    before = """
import os
inner = build._write
def counted(*args):
    (marks / f"wrote-{os.getpid()}").touch()
    while len(list(marks.glob("here-*"))) < 2:
        time.sleep(0.01)
    time.sleep(0.5)
    inner(*args)
build._write = counted
(marks / f"here-{os.getpid()}").touch()
"""
    processes = [_start(synthetic, data, marks, before) for _ in range(2)]
    reported = {process.communicate(timeout=PATIENCE)[0].strip() for process in processes}
    assert [process.returncode for process in processes] == [0, 0]
    assert len(list(marks.glob("here-*"))) == 2
    assert len(list(marks.glob("wrote-*"))) == 1
    (folder,) = reported
    assert _visible(data) == [Path(folder).name]
    assert json.loads((Path(folder) / "manifest.json").read_text())["rows"] > 0


def test_a_killed_build_leaves_nothing_that_looks_finished_and_the_next_one_succeeds(synthetic, data, tmp_path):
    marks = tmp_path / "marks"
    before = """
def pause(*args):
    (marks / "last step").touch()
    time.sleep(600)
build.stage.write_json = pause
"""
    process = _start(synthetic, data, marks, before)
    _wait_for((marks / "last step").exists)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate(timeout=PATIENCE)
    assert [name for name in _visible(data) if not name.startswith(".")] == []
    assert [name for name in _visible(data) if name.endswith(".partial")] != []
    folder = Path(_start(synthetic, data, marks).communicate(timeout=PATIENCE)[0].strip())
    assert _visible(data) == [folder.name]
    assert (folder / "manifest.json").is_file()
