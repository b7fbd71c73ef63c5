"""Size and CRC-32C of the checkpoints of a run, or of an estimator's fit.json, so that a damaged one is never read."""

from pathlib import Path

from data_modules import files, stage
from data_modules.errors import UserError

LAST, PREVIOUS, BEST = "last.ckpt", "previous.ckpt", "best.ckpt"
"""The latest checkpoint and the one before it, which a run resumes from; the one that is evaluated."""
DIGESTS = "digests.json"
KEPT = 3
"""Entries per name: of the file that is being written, of the one that it replaces, and of `previous`."""


class DigestsError(UserError):
    """The file with the digests of checkpoints is damaged."""


def record(path: Path, entry: files.Entry) -> None:
    """Record a checkpoint before it gets its name; entries of the files that it replaces are kept.

    A process that is killed between the two leaves files that are all recorded.
    """
    known = _read(path.parent)
    entries = [entry, *known.get(path.name, [])][:KEPT]
    stage.write_json(path.with_name(DIGESTS), {**known, path.name: entries})


def problem(path: Path) -> str:
    """What is wrong with a checkpoint; empty if nothing is, or if an earlier version, which recorded none, wrote it."""
    known = _read(path.parent).get(LAST if path.name == PREVIOUS else path.name)
    found = files.damage_of(path, *known) if known else ""
    return f"{found}, as {DIGESTS} beside it says" if found else ""


def _read(folder: Path) -> dict[str, list[files.Entry]]:
    path = folder / DIGESTS
    if not path.is_file():
        return {}
    try:
        known: dict[str, list[files.Entry]] = stage.read_json(path)
    except (OSError, ValueError) as error:
        raise DigestsError(
            f"{path} cannot be read ({error}); it verifies the files beside it: remove it to use them unverified"
        ) from error
    return known
