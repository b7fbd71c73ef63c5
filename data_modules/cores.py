"""The number of cores that this process may use, which on a shared machine is less than the machine has."""

import os
from pathlib import Path

CGROUPS, OWN_GROUP = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")
"""Where Linux mounts control groups (version 2), and the file that names the group of this process."""


def usable_cores(groups: Path = CGROUPS, own: Path = OWN_GROUP) -> int:
    """Count the cores of the process's affinity, limited by the CPU quotas of its control group and of those above it.

    Args:
        groups: folder of the control groups.
        own: file with the group of this process.

    Returns:
        At least 1; a quota that is no whole number of cores is rounded down.
    """
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, int(min([affinity, *_quotas(groups, own)])))


def _quotas(groups: Path, own: Path) -> list[float]:
    """Cores by each quota that applies; none on a system without control groups of version 2."""
    try:
        lines = own.read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    group = next((line.removeprefix("0::/") for line in lines if line.startswith("0::/")), "")
    folder = groups / group
    found = [_quota(part / "cpu.max") for part in (folder, *folder.parents) if part.is_relative_to(groups)]
    return [quota for quota in found if quota is not None]


def _quota(file: Path) -> float | None:
    """Cores by one file, which holds the quota and the period in microseconds; None if there is no limit."""
    try:
        quota, period = file.read_text(encoding="utf-8").split()
        return int(quota) / int(period)
    except (OSError, ValueError):  # there is no such file, or the quota is the word max
        return None
