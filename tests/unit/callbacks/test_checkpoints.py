import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint

from mmnar_lightning.callbacks.checkpoints import MONITOR, AtomicCheckpointIO, CheckpointError, checkpoint_callbacks
from mmnar_lightning.callbacks.run_identity import RunIdentity

OLD, NEW = {"weights": torch.zeros(3)}, {"weights": torch.ones(3)}


def read(path):
    return torch.load(path, weights_only=True)["weights"].tolist()


def test_a_checkpoint_is_written_whole_under_its_own_name_alone(tmp_path):
    path = tmp_path / "last.ckpt"
    for content in (OLD, NEW):
        AtomicCheckpointIO().save_checkpoint(content, str(path))
    assert read(path) == [1, 1, 1]
    assert read(tmp_path / "previous.ckpt") == [0, 0, 0]
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["digests.json", "last.ckpt", "previous.ckpt"]


def test_the_best_checkpoint_has_none_before_it(tmp_path):
    for content in (OLD, NEW):
        AtomicCheckpointIO().save_checkpoint(content, tmp_path / "best.ckpt")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["best.ckpt", "digests.json"]


def test_only_the_best_checkpoint_is_written_without_the_state_of_the_optimiser(tmp_path):
    states = [{"state": torch.ones(2)}]
    given = {**NEW, "optimizer_states": states}
    for name, kept in (("last", 1), ("best", 0)):
        AtomicCheckpointIO().save_checkpoint(given, tmp_path / f"{name}.ckpt")
        assert len(torch.load(tmp_path / f"{name}.ckpt", weights_only=True)["optimizer_states"]) == kept
        assert read(tmp_path / f"{name}.ckpt") == [1, 1, 1]
    assert given["optimizer_states"] is states, "the Trainer continues with it"


def test_a_save_that_fails_half_way_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "last.ckpt"
    AtomicCheckpointIO().save_checkpoint(OLD, path)

    def fail(checkpoint, target):
        target.write_bytes(b"half of it")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", fail)
    with pytest.raises(CheckpointError, match=r"last\.ckpt could not be written .*No space left"):
        AtomicCheckpointIO().save_checkpoint(NEW, path)
    assert read(path) == [0, 0, 0]
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["digests.json", "last.ckpt"]
    monkeypatch.undo()
    AtomicCheckpointIO().save_checkpoint(NEW, path)
    assert read(path) == [1, 1, 1]


def test_the_file_is_on_the_disk_before_it_is_renamed(tmp_path, monkeypatch):
    path, synced = tmp_path / "last.ckpt", []
    monkeypatch.setattr("os.fsync", lambda handle: synced.append(path.exists()))
    AtomicCheckpointIO().save_checkpoint(NEW, path)
    assert synced == [False, False, True], "first the file, then its digest, then its name in the folder"


def test_stopping_and_the_best_checkpoint_watch_the_same_metric_and_the_last_one_watches_none(tmp_path):
    stopping, best, last = checkpoint_callbacks(tmp_path, patience=4)
    assert stopping.monitor == best.monitor == MONITOR == "val/auroc"
    assert stopping.mode == best.mode == "max"
    assert (stopping.patience, last.monitor) == (4, None)
    assert (best.filename, last.filename) == ("best", "last")


def test_what_a_checkpoint_keeps_of_its_callbacks_names_files_and_not_their_folder(tmp_path):
    _, *saving = checkpoint_callbacks(tmp_path, patience=4)
    for callback in saving:
        names = [str(tmp_path / f"{name}.ckpt") for name in ("best", "last")]
        callback.best_model_path = callback.kth_best_model_path = names[0]
        callback.last_model_path = names[1]
        callback.best_k_models = {names[0]: torch.tensor(0.7)}
        usual = repr(ModelCheckpoint.state_dict(callback))
        assert usual.count(str(tmp_path)) == 5, "Lightning keeps no folder any more"
        state = callback.state_dict()
        assert str(tmp_path) not in repr(state)
        assert (state["dirpath"], state["best_model_path"]) == ("", "best.ckpt")
        callback.load_state_dict(state)
        assert (callback.best_model_path, callback.last_model_path) == tuple(names)
        assert list(callback.best_k_models) == names[:1]
        assert str(callback.dirpath) == str(tmp_path)


def test_states_of_callbacks_keep_the_keys_that_older_checkpoints_hold(tmp_path):
    stopping, best, last = checkpoint_callbacks(tmp_path, patience=4)
    assert stopping.state_key == "Patience{'monitor': 'val/auroc', 'mode': 'max'}"
    intervals = "'every_n_train_steps': 0, 'every_n_epochs': 1, 'train_time_interval': None"
    assert best.state_key == f"Best{{'monitor': 'val/auroc', 'mode': 'max', {intervals}}}"
    assert last.state_key == f"Movable{{'monitor': None, 'mode': 'min', {intervals}}}"
    assert RunIdentity("run").state_key == "Identity"
