"""Runs that are stopped anywhere and started again by the same command end as the run that was never stopped."""

import json
import os
import re
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch

from data_modules.errors import UserError
from mmnar_lightning.callbacks.digests import DIGESTS
from mmnar_lightning.callbacks.run_identity import IDENTITY_KEY
from mmnar_lightning.config.compose import load
from mmnar_lightning.config.experiment import ConfigError, ExperimentConfig
from mmnar_lightning.distributed.signals import PreemptedError
from mmnar_lightning.module import MMNARModule
from mmnar_lightning.runs import folders, single
from tests.helpers.processes import TRAIN, write_cohort

EPOCHS, BATCHES = 3, 7
"""Of a run: 203 train rows in batches of 32."""
WORDS = (
    f"trainer.max_epochs={EPOCHS}",
    "model.fusion.dropout=0.2",
    "rectifier.start_epoch=1",
    "optim.lr=1e-3",
)


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    place = tmp_path_factory.mktemp("resume")
    write_cohort(place / "given")
    return place


@pytest.fixture
def settings(place: Path, tmp_path: Path, monkeypatch) -> Callable[..., ExperimentConfig]:
    for name in ("WANDB_API_KEY", folders.RUN_ID_VARIABLE):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(place)

    def compose(*words: str) -> ExperimentConfig:
        return load([*TRAIN, *WORDS, "paths.cohort=given", f"paths.runs={tmp_path / 'runs'}", *words])

    return compose


@pytest.fixture(scope="module")
def whole(place: Path) -> Path:
    """The run that was never stopped."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv(folders.RUN_ID_VARIABLE, raising=False)
        patch.chdir(place)
        return (place / single.train(load([*TRAIN, *WORDS, "paths.cohort=given", "paths.runs=whole"]))).resolve()


def results_of(folder: Path) -> dict[str, Any]:
    return {key: value for key, value in json.loads((folder / "results.json").read_text()).items() if key != "run_id"}


def logged(folder: Path) -> pl.DataFrame:
    frame = pl.read_csv(folder / "metrics.csv", infer_schema_length=None)
    return frame.filter(pl.col("val/auroc").is_not_null()).select(sorted(c for c in frame.columns if "val/" in c))


def assert_same(found: Path, whole: Path) -> None:
    for name in (folders.LAST, folders.BEST):
        left, right = (torch.load(folder / name, weights_only=True) for folder in (found, whole))
        assert (left["epoch"], left["global_step"]) == (right["epoch"], right["global_step"]), name
        assert left["lr_schedulers"] == right["lr_schedulers"]
        for key, value in right["state_dict"].items():
            torch.testing.assert_close(left["state_dict"][key], value, rtol=0, atol=0, equal_nan=True)
    assert results_of(found) == results_of(whole)
    # A validation that was begun, killed and begun again is logged once; replayed epochs repeat equal values.
    assert logged(found).unique(maintain_order=True).equals(logged(whole))


class Killed(BaseException):
    """The process is gone."""


def at(calls: int, event: Callable[[], None], usual: Callable[..., Any]) -> Callable[..., Any]:
    """The usual function, with an event before its n-th call from now."""
    seen = {"calls": 0}

    def counted(*given: Any, **named: Any) -> Any:
        seen["calls"] += 1
        if seen["calls"] == calls:
            event()
        return usual(*given, **named)

    return counted


def kill() -> None:
    raise Killed


@pytest.mark.parametrize(
    ("step", "number"),
    [(1, signal.SIGTERM), (BATCHES, signal.SIGTERM), (BATCHES + 3, signal.SIGUSR1), (2 * BATCHES - 1, signal.SIGTERM)],
)
def test_a_signal_in_any_step_saves_after_it_and_nothing_is_lost(step, number, settings, whole, monkeypatch) -> None:
    usual = MMNARModule.training_step
    monkeypatch.setattr(MMNARModule, "training_step", at(step, lambda: os.kill(os.getpid(), number), usual))
    with pytest.raises(PreemptedError, match=number.name):
        single.train(settings())
    monkeypatch.setattr(MMNARModule, "training_step", usual)
    assert signal.getsignal(number) == signal.SIG_DFL
    (folder,) = Path(settings().paths.runs).glob("*/*")
    assert not (folder / folders.DONE).exists()
    assert torch.load(folder / folders.LAST, weights_only=True)["global_step"] == step
    assert single.train(settings()).resolve() == folder.resolve()
    assert_same(folder, whole)


def test_a_signal_in_validation_waits_for_the_end_of_the_epoch(settings, whole, monkeypatch) -> None:
    usual = MMNARModule.validation_step
    stop = at(2, lambda: os.kill(os.getpid(), signal.SIGTERM), usual)
    monkeypatch.setattr(MMNARModule, "validation_step", stop)
    with pytest.raises(PreemptedError):
        single.train(settings())
    monkeypatch.setattr(MMNARModule, "validation_step", usual)
    folder = single.train(settings("resume=last"))
    assert_same(folder, whole)


@pytest.mark.parametrize(
    ("where", "method", "call", "every"),
    [
        ("between two steps", "training_step", BATCHES + 4, 0),
        ("between two steps", "training_step", BATCHES + 4, 2),
        ("validation", "validation_step", 2, 0),
        ("validation", "validation_step", 2, 3),
        ("test", "test_step", 1, 0),
    ],
)
def test_a_run_killed_anywhere_ends_the_same(where, method, call, every, settings, whole, monkeypatch) -> None:
    usual = getattr(MMNARModule, method)
    monkeypatch.setattr(MMNARModule, method, at(call, kill, usual))
    words = [f"trainer.checkpoint_every_steps={every}"]
    with pytest.raises(Killed):
        single.train(settings(*words))
    monkeypatch.setattr(MMNARModule, method, usual)
    (folder,) = Path(settings().paths.runs).glob("*/*")
    if method == "training_step":
        kept = torch.load(folder / folders.LAST, weights_only=True)["global_step"]
        assert kept == (BATCHES + 3 - (BATCHES + 3) % every if every else BATCHES)
    assert single.train(settings(*words)).resolve() == folder.resolve()
    assert_same(folder, whole)


def test_a_failing_write_keeps_what_there_was_and_the_run_goes_on_from_it(settings, whole, monkeypatch) -> None:
    usual = torch.save

    def full(checkpoint: Any, path: Any) -> None:
        usual(checkpoint, path)
        if "last" in path.name and checkpoint["global_step"] == 2 * BATCHES:
            path.write_bytes(path.read_bytes()[:1000])
            raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", full)
        with pytest.raises(ValueError, match=r"last\.ckpt could not be written .*No space left"):
            single.train(settings())
    (folder,) = Path(settings().paths.runs).glob("*/*")
    assert not list(folder.rglob("*.partial"))
    assert_same(single.train(settings()), whole)


@pytest.fixture
def stopped(settings, monkeypatch) -> Path:
    """A run that was killed in its third epoch; both its checkpoints are good."""
    usual = MMNARModule.training_step
    with monkeypatch.context() as patch:
        patch.setattr(MMNARModule, "training_step", at(2 * BATCHES + 2, kill, usual))
        with pytest.raises(Killed):
            single.train(settings())
    (folder,) = Path(settings().paths.runs).glob("*/*")
    return folder


def test_a_cut_checkpoint_is_refused_by_name_and_the_one_before_is_used(stopped, settings, whole, capsys) -> None:
    content = (stopped / folders.LAST).read_bytes()
    (stopped / folders.LAST).write_bytes(content[: len(content) // 2])
    capsys.readouterr()
    single.train(settings())
    said = capsys.readouterr().out
    assert f"last.ckpt is refused: it has {len(content) // 2} of {len(content)} bytes" in said
    assert "previous.ckpt is used" in said
    assert f"resumed from previous.ckpt, epoch 0, step {BATCHES}" in said
    assert_same(stopped, whole)


def test_a_cut_checkpoint_of_an_earlier_version_is_refused_too(stopped, settings, whole, capsys) -> None:
    (stopped / "checkpoints" / DIGESTS).unlink()
    content = (stopped / folders.LAST).read_bytes()
    (stopped / folders.LAST).write_bytes(content[: len(content) // 2])
    single.train(settings())
    assert "last.ckpt is refused: it cannot be read" in capsys.readouterr().out
    assert_same(stopped, whole)


def test_a_checkpoint_of_something_else_is_refused_by_name(stopped, settings, whole, capsys) -> None:
    (stopped / "checkpoints" / DIGESTS).unlink()
    torch.save({"state_dict": {}}, stopped / folders.LAST)
    single.train(settings())
    assert "last.ckpt is refused: it is not a checkpoint of mmnar" in capsys.readouterr().out
    assert_same(stopped, whole)


def test_the_best_checkpoint_in_place_of_the_last_is_refused_by_name(stopped, settings, whole, capsys) -> None:
    (stopped / "checkpoints" / DIGESTS).unlink()
    shutil.copyfile(stopped / folders.BEST, stopped / folders.LAST)
    single.train(settings())
    assert "last.ckpt is refused: it has weights alone" in capsys.readouterr().out
    assert_same(stopped, whole)


def test_a_checkpoint_of_another_version_is_refused_by_name(stopped, settings, capsys) -> None:
    (stopped / "checkpoints" / DIGESTS).unlink()
    path = stopped / folders.BEST
    checkpoint = torch.load(path, weights_only=True)
    weights = checkpoint["state_dict"]
    weights["model.earlier.weight"] = weights.pop(name := next(iter(weights)))
    torch.save(checkpoint, path)
    with pytest.raises(UserError, match=rf"best\.ckpt: {re.escape(name)} of MMNARModule is missing"):
        single.evaluate(settings(f"run={stopped}"))
    del checkpoint["callbacks"][IDENTITY_KEY]
    torch.save(checkpoint, stopped / folders.LAST)
    single.train(settings())
    assert "last.ckpt is refused: it is not a checkpoint of mmnar, or one of an older" in capsys.readouterr().out


def test_without_a_readable_checkpoint_nothing_is_trained(stopped, settings) -> None:
    for name in (folders.LAST, folders.PREVIOUS):
        (stopped / name).write_bytes(b"PK")
    with pytest.raises(ConfigError, match=r"last\.ckpt is refused.*previous\.ckpt is refused.*resume=new"):
        single.train(settings())


def test_resume_new_starts_a_new_run_and_the_same_settings_alone_go_on(stopped, settings) -> None:
    assert folders.unfinished_run(settings(), folders.LAST) == stopped
    assert folders.unfinished_run(settings("seed=1"), folders.LAST) is None
    assert folders.unfinished_run(settings("trainer.devices=2"), folders.LAST) == stopped
    with folders.opened(settings("resume=new"), folders.LAST) as folder:
        assert folder != stopped


def test_two_commands_never_train_one_run(stopped, settings) -> None:
    with folders.opened(settings(), folders.LAST) as folder:
        assert folder == stopped
        assert folders.unfinished_run(settings(), folders.LAST) is None
        del os.environ[folders.RUN_ID_VARIABLE]
        with pytest.raises(ConfigError, match="is being trained by another process"):
            single.train(settings(f"resume={stopped}"))


def test_settings_that_differ_are_refused_unless_they_are_named(stopped, settings, capsys) -> None:
    with pytest.raises(ConfigError, match=r"optim\.lr: 0\.001 before, 0\.002 now\); resume_with=\[optim\.lr\]"):
        single.train(settings("resume=last", "optim.lr=0.002"))
    with pytest.raises(ConfigError, match=r"resume_with=\[model\.fusion\.dim\]"):
        settings("resume_with=[model.fusion.dim]")
    words = ("optim.lr=0.002", "optim.weight_decay=0.3", "trainer.patience=9")
    single.train(settings("resume=last", "resume_with=[optim.,trainer.patience]", *words))
    assert "optim.lr: 0.001 before, 0.002 now" in capsys.readouterr().out
    state = torch.load(stopped / folders.LAST, weights_only=True)
    assert {group["weight_decay"] for group in state["optimizer_states"][0]["param_groups"]} == {0.3}
    assert {group["initial_lr"] for group in state["optimizer_states"][0]["param_groups"]} == {0.002}
    assert state["lr_schedulers"][0]["base_lrs"] == [0.002]
    (stopping,) = (value for key, value in state["callbacks"].items() if key.startswith("Patience"))
    assert stopping["patience"] == 9
    assert load([f"experiment={stopped / 'config.yaml'}"]).optim.lr == 0.002
    assert len(list(stopped.glob("config-*.yaml"))) == 1


def test_a_finished_run_is_said_to_be_finished(whole, settings, capsys) -> None:
    before = (whole / folders.LAST).read_bytes()
    assert single.train(settings(f"resume={whole}")) == whole
    assert "is finished (it has DONE)" in capsys.readouterr().out
    assert (whole / folders.LAST).read_bytes() == before


def test_a_run_that_patience_ended_trains_no_further_when_its_evaluation_was_killed(settings, monkeypatch) -> None:
    words = ("trainer.patience=1", "trainer.max_epochs=6", "optim.lr=1e-14")
    usual = MMNARModule.test_step
    monkeypatch.setattr(MMNARModule, "test_step", at(1, kill, usual))
    with pytest.raises(Killed):
        single.train(settings(*words))
    monkeypatch.setattr(MMNARModule, "test_step", usual)
    (folder,) = Path(settings().paths.runs).glob("*/*")
    epoch = torch.load(folder / folders.LAST, weights_only=True)["epoch"]
    assert epoch < 5
    single.train(settings(*words))
    assert torch.load(folder / folders.LAST, weights_only=True)["epoch"] == epoch
