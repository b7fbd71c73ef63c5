"""Cores are those that the job may use."""

import os
from pathlib import Path

import pytest

from data_modules.cores import usable_cores


@pytest.fixture
def eight_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    monkeypatch.setattr(os, "cpu_count", lambda: 64)


def written(place: Path, group: str, limits: dict[str, str]) -> tuple[Path, Path]:
    """Control groups with the given limits, and the file that names the own one."""
    for name, text in limits.items():
        (place / "groups" / name).mkdir(parents=True, exist_ok=True)
        (place / "groups" / name / "cpu.max").write_text(text)
    (place / "own").write_text(f"1:name=systemd:/other\n0::/{group}\n")
    return place / "groups", place / "own"


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ({}, 8),
        ({"": "max 100000\n"}, 8),
        ({"": "300000 100000\n"}, 3),
        ({"": "1600000 100000\n"}, 8),
        ({"job": "250000 100000\n"}, 2),
        ({"job": "50000 100000\n"}, 1),
        ({"job/step": "max 100000\n", "job": "400000 100000\n"}, 4),
        ({"job/step": "600000 100000\n", "job": "400000 100000\n", "": "500000 100000\n"}, 4),
        ({"neighbour": "100000 100000\n"}, 8),
    ],
)
def test_the_smallest_quota_of_the_own_groups_limits_the_affinity(eight_cores, tmp_path, limits, expected):
    assert usable_cores(*written(tmp_path, "job/step", limits)) == expected


def test_without_control_groups_the_affinity_counts_not_the_machine(eight_cores, tmp_path):
    assert usable_cores(tmp_path / "none", tmp_path / "none either") == 8


def test_a_system_without_affinity_has_the_cores_of_the_machine(monkeypatch, tmp_path):
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    assert usable_cores(tmp_path / "none", tmp_path / "none either") == 6


def test_a_process_pinned_to_one_core_counts_one():
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        assert usable_cores() == 1
    finally:
        os.sched_setaffinity(0, before)
