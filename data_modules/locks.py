"""Locks between processes, which a file system must support: without them two processes would write the same files."""

import errno
import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from data_modules.errors import UserError

UNSUPPORTED = {errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP}
"""What flock reports on a file system without locks."""
MOUNTS = Path("/proc/self/mounts")


class LockError(UserError):
    """A file system has no locks."""


class HeldError(Exception):
    """Another process holds a lock."""


@contextmanager
def locked(path: Path, *, wait: bool = True, waiting_for: str = "") -> Iterator[None]:
    """Hold a lock; it ends with the process, also with one that is killed.

    Args:
        path: of the lock's file.
        wait: until another process releases it.
        waiting_for: logged as a warning before waiting: what the other process does.

    Yields:
        Nothing.

    Raises:
        HeldError: if another process holds it, unless `wait`.
    """
    require_locks(path.parent)
    lock = FileLock(path)
    try:
        lock.acquire(timeout=-1 if wait and not waiting_for else 0)
    except Timeout:
        if not wait:
            raise HeldError(str(path)) from None
        logging.getLogger(__name__).warning("waiting for another process to %s", waiting_for)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def require_locks(folder: Path) -> None:
    """Refuse a folder in which processes cannot lock files.

    Lock files of other kinds would outlive a process whose machine failed, and so block or fork its run.

    Raises:
        LockError: naming the file system and what to do.
        OSError: if the folder cannot be written.
    """
    try:
        import fcntl
    except ImportError:  # Windows locks files in another way, on every file system
        return
    with tempfile.TemporaryFile(dir=folder) as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in UNSUPPORTED:
                raise
            raise LockError(
                f"{folder}: its file system ({_file_system(folder)}) does not lock files ({error.strerror}), so two "
                "processes could write the same ones; name a folder on another disk (paths.data, paths.runs, or the "
                "folder that the command was given), or mount this one with locks (Lustre: -o flock)"
            ) from None


def _file_system(folder: Path) -> str:
    """The type and mount point of a folder's file system."""
    try:
        mounts = [line.split()[1:3] for line in MOUNTS.read_text(encoding="utf-8").splitlines()]
    except OSError:
        return "of unknown type"
    place = folder.resolve()
    within = [(len(point), point, kind) for point, kind in mounts if place.is_relative_to(point)]
    _, point, kind = max(within, default=(0, str(place), "unknown"))
    return f"{kind} on {point}"
