"""The newest sweep is the one that was started last, whatever the times of its files."""

import os
from pathlib import Path

import pytest

from mmnar_lightning.commands.best import _newest
from mmnar_lightning.commands.sweep import _write_file
from mmnar_lightning.config.compose import load
from mmnar_lightning.config.experiment import ConfigError


def sweep(runs: Path, name: str, started: str = "", trial: str = "", touched: int = 0) -> Path:
    """A sweep's folder, or one of an earlier version that recorded the starts of its trials alone."""
    folder = runs / "sweeps" / name
    folder.mkdir(parents=True)
    (folder / "sweep.yaml").touch()
    if started:
        (folder / "started").write_text(f"{started}\n")
    if trial:
        (folder / "trial-0000").mkdir()
        (folder / "trial-0000" / "config.yaml").touch()
        (folder / "trial-0000" / "started").write_text(f"{trial}\n")
    os.utime(folder / "sweep.yaml", (touched, touched))
    return folder


def test_the_recorded_start_decides_and_not_the_time_of_the_file(tmp_path: Path) -> None:
    config = load([f"paths.runs={tmp_path}"])
    with pytest.raises(ConfigError, match="has no sweep"):
        _newest(config)
    sweep(tmp_path, "older", started="2026-01-02T00:00:00+00:00", touched=2_000_000_000)
    newer = sweep(tmp_path, "newer", started="2026-01-03T00:00:00+00:00", touched=1)
    assert _newest(config) == newer
    newest = sweep(tmp_path, "of-an-earlier-version", trial="2026-01-04T00:00:00+00:00", touched=1)
    assert _newest(config) == newest


def test_a_sweep_records_its_first_start(tmp_path: Path) -> None:
    _write_file(tmp_path, {"method": "grid"})
    first = (tmp_path / "started").read_text()
    _write_file(tmp_path, {"method": "grid"})
    assert (tmp_path / "started").read_text() == first
