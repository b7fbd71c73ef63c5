"""When a run was first started: names do not order runs (slurm-99, slurm-100), and copies have new times of files."""

from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

STARTED = "started"
"""File with the time of the first start, in UTC."""


def record(folder: Path) -> None:
    """Record the time, once."""
    if not (folder / STARTED).is_file():
        (folder / STARTED).write_text(f"{datetime.now(UTC).isoformat()}\n", encoding="utf-8")


def started(folder: Path) -> datetime:
    """When a run was first started, as its folder records it.

    Runs of versions that recorded no time are ordered by that in their name, or by their oldest file.

    Args:
        folder: of the run.

    Returns:
        The time, in UTC.
    """
    path = folder / STARTED
    with suppress(ValueError):
        if path.is_file():
            return datetime.fromisoformat(path.read_text(encoding="utf-8").strip())
        return datetime.strptime(folder.name[:15], "%Y%m%d-%H%M%S").replace(tzinfo=UTC)
    oldest = min(entry.stat().st_mtime for entry in (folder, *folder.glob("config*.yaml"), *folder.glob("logs/*")))
    return datetime.fromtimestamp(oldest, UTC)
