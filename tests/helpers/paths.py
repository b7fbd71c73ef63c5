"""Where things lie in the checkout, and folders that several tests read."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
"""The checkout."""


@contextmanager
def shared(folder: Path) -> Iterator[Path]:
    """Let tests read a folder; none of them can write into it, and none of root's has written into it in the end."""
    for path in (folder, *folder.rglob("*")):
        path.chmod(path.stat().st_mode & ~0o222)
    before = _state(folder)
    yield folder
    assert _state(folder) == before, f"a test has changed {folder}, which others read"


def _state(folder: Path) -> dict[str, tuple[int, int]]:
    return {str(path): (path.stat().st_mtime_ns, path.stat().st_size) for path in folder.rglob("*")}
