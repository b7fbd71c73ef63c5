"""The digests of checkpoints, and what a process that is killed between them and the files leaves."""

import tempfile
from pathlib import Path

import pytest
import torch

from data_modules.errors import UserError
from mmnar_lightning.callbacks import digests
from mmnar_lightning.callbacks.checkpoints import AtomicCheckpointIO

NAMES = ("last.ckpt", "previous.ckpt")


def _save(folder: Path, value: int, name: str = "last.ckpt") -> None:
    AtomicCheckpointIO().save_checkpoint({"weights": torch.full((50,), value)}, folder / name)


def _problems(folder: Path) -> dict[str, str]:
    return {path.name: digests.problem(path) for path in sorted(folder.glob("*.ckpt"))}


def test_every_checkpoint_that_was_saved_is_intact_after_any_number_of_saves(tmp_path) -> None:
    for value in range(5):
        _save(tmp_path, value)
        _save(tmp_path, value, "best.ckpt")
        assert set(_problems(tmp_path).values()) == {""}
    assert set(_problems(tmp_path)) == {"best.ckpt", *NAMES}


@pytest.mark.parametrize("name", ["best.ckpt", *NAMES])
def test_a_damaged_checkpoint_is_seen_and_no_other_is_blamed(tmp_path, name) -> None:
    for value in range(3):
        _save(tmp_path, value)
        _save(tmp_path, value, "best.ckpt")
    content = bytearray((tmp_path / name).read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / name).write_bytes(content)
    found = _problems(tmp_path)
    assert found.pop(name) == "differs from what was written, as digests.json beside it says"
    assert set(found.values()) == {""}


@pytest.mark.parametrize("number", [1, 2])
@pytest.mark.parametrize("saved", [1, 2, 5])
def test_a_process_that_is_killed_between_two_renames_leaves_intact_checkpoints(
    tmp_path, monkeypatch, saved, number
) -> None:
    for value in range(saved):
        _save(tmp_path, value)
    usual, renamed = Path.replace, []

    def die(self: Path, target: Path) -> Path:
        if self.suffix == ".json" or self.name.endswith("json.partial"):
            return usual(self, target)
        renamed.append(target)
        if len(renamed) == number:
            raise KeyboardInterrupt
        return usual(self, target)

    monkeypatch.setattr(Path, "replace", die)
    with pytest.raises(KeyboardInterrupt):
        _save(tmp_path, 9)
    monkeypatch.undo()
    found = _problems(tmp_path)
    assert found
    assert set(found.values()) == {""}


def test_checkpoints_of_an_earlier_version_are_not_verified(tmp_path) -> None:
    _save(tmp_path, 1)
    (tmp_path / digests.DIGESTS).unlink()
    assert digests.problem(tmp_path / "last.ckpt") == ""


def test_damaged_digests_are_named(tmp_path) -> None:
    _save(tmp_path, 1)
    (tmp_path / digests.DIGESTS).write_text('{"last')
    with pytest.raises(UserError, match=r"digests\.json cannot be read .*remove it"):
        digests.problem(tmp_path / "last.ckpt")


def test_a_checkpoint_is_written_beside_its_target_alone(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "full"))  # a folder that does not exist
    _save(tmp_path, 1)
    assert (tmp_path / "last.ckpt").is_file()
