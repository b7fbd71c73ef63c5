"""The file DONE of a finished run: it has size and CRC-32C of what later commands read again."""

from pathlib import Path

from data_modules import files, stage
from data_modules.errors import UserError
from mmnar_lightning.runs.folders import DONE, PREDICTIONS, PREVIOUS, RESULTS


class DamagedRunError(UserError):
    """Files of a finished run are not as they were written."""


def mark(folder: Path) -> None:
    """Mark a run as finished, and remove the checkpoint before the last, which nothing resumes any more."""
    written = [name for name in (PREDICTIONS, RESULTS) if (folder / name).is_file()]
    stage.write_json(folder / DONE, {name: files.describe(folder / name) for name in written})
    (folder / PREVIOUS).unlink(missing_ok=True)


def verify(folder: Path) -> None:
    """Compare the predictions and results of a finished run with what was written; earlier versions left DONE empty.

    Raises:
        DamagedRunError: naming each file that is missing or changed.
    """
    path = folder / DONE
    if not path.is_file() or not path.stat().st_size:
        return
    try:
        problems = files.damage(folder, stage.read_json(path))
    except (TypeError, ValueError, KeyError, AttributeError):
        problems = [f"{DONE} cannot be read"]
    if problems:
        raise DamagedRunError(
            f"{folder} is damaged ({'; '.join(problems)}); remove {RESULTS} and {DONE} there, then "
            f"`mmnar evaluate run={folder}` scores it again"
        )
