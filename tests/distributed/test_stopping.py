"""A signal outside of training: status 75, finished work is kept, and the same command resumes it."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch

from data_modules.cohorts import custom
from data_modules.raw.errors import SourceError
from mmnar_lightning.cli import PREEMPTED, main
from mmnar_lightning.config.compose import load
from mmnar_lightning.distributed import signals
from mmnar_lightning.module import MMNARModule
from mmnar_lightning.runs import folders, single
from mmnar_lightning.sweeps import online
from tests.distributed.test_resume import BATCHES, EPOCHS, WORDS, assert_same, at
from tests.helpers.processes import TRAIN, write_cohort

SETTINGS = [*TRAIN, *WORDS, "paths.cohort=given", "paths.runs=runs"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """The run that was never stopped, beside its cohort."""
    place = tmp_path_factory.mktemp("stopping")
    write_cohort(place / "given")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv(folders.RUN_ID_VARIABLE, raising=False)
        patch.chdir(place)
        return (place / single.train(load([*SETTINGS, "paths.runs=whole"]))).resolve()


@pytest.fixture
def place(whole: Path, workplace: Path) -> Path:
    (workplace / "given").symlink_to(whole.parents[2] / "given")
    return workplace


def send(number: signal.Signals) -> Callable[[], None]:
    return lambda: os.kill(os.getpid(), number)


def lost(error: type[BaseException]) -> Callable[[], None]:
    """A signal of which other code makes an error of its own."""

    def event() -> None:
        try:
            send(signal.SIGTERM)()
        except signals.PreemptedError:
            raise error("not readable") from None

    return event


def only() -> Path:
    (folder,) = Path("runs").glob("*/*")
    return folder


def stop_in(owner: Any, name: str, call: int, event: Callable[[], None], *words: str) -> int:
    """The status of a command in which something happens before the n-th call of a function."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(owner, name, at(call, event, getattr(owner, name)))
        return main(["train", *SETTINGS, *words])


@pytest.mark.parametrize("number", signals.SIGNALS)
def test_while_a_cohort_is_built(number, place: Path, whole: Path, capsys) -> None:
    assert stop_in(custom, "_import", 2, send(number)) == PREEMPTED
    assert f"stopped by {number.name}; finished work is kept; the same command resumes it" in capsys.readouterr().out
    assert not list(place.glob("data/cohorts/*/manifest.json"))
    assert signal.getsignal(number) == signal.SIG_DFL
    assert main(["train", *SETTINGS]) == 0
    assert_same(only(), whole)


@pytest.mark.parametrize("error", [ValueError, SourceError, pl.exceptions.PanicException])
def test_when_other_code_makes_another_error_of_the_signal(error: type[BaseException], place: Path, capsys) -> None:
    assert stop_in(custom, "_import", 2, lost(error)) == PREEMPTED
    printed = "".join(capsys.readouterr())
    assert "stopped by SIGTERM; finished work is kept" in printed
    assert "not readable" not in printed


def test_in_the_last_validation(place: Path, whole: Path) -> None:
    assert stop_in(MMNARModule, "validation_step", EPOCHS, send(signal.SIGUSR1)) == PREEMPTED
    assert torch.load(only() / folders.LAST, weights_only=True)["global_step"] == EPOCHS * BATCHES
    assert not (only() / folders.DONE).exists()
    assert main(["train", *SETTINGS]) == 0
    assert_same(only(), whole)


@pytest.mark.parametrize("number", signals.SIGNALS)
def test_while_test_rows_are_read(number, place: Path, whole: Path) -> None:
    assert stop_in(MMNARModule, "test_step", 1, send(number)) == PREEMPTED
    assert not (only() / folders.RESULTS).exists()
    assert main(["train", *SETTINGS]) == 0
    assert_same(only(), whole)


@pytest.mark.parametrize("event", [send(signal.SIGTERM), lost(RuntimeError)], ids=["stop", "another error"])
def test_while_a_checkpoint_is_read_it_is_not_taken_for_a_broken_one(event, place: Path, whole: Path) -> None:
    assert stop_in(MMNARModule, "training_step", BATCHES + 2, send(signal.SIGTERM)) == PREEMPTED
    assert stop_in(torch, "load", 1, event) == PREEMPTED
    assert not list(only().glob("checkpoints/*.refused"))
    assert main(["train", *SETTINGS]) == 0
    assert_same(only(), whole)


def test_a_second_signal_finds_the_command_stopping_already(place: Path, monkeypatch) -> None:
    monkeypatch.setattr(online, "is_over", at(1, send(signal.SIGTERM), online.is_over))
    assert stop_in(custom, "_import", 2, send(signal.SIGTERM)) == PREEMPTED


def test_w_and_b_ends_a_run_for_good_from_a_thread_of_its_own(place: Path, capsys) -> None:
    assert stop_in(MMNARModule, "training_step", 3, signals.request_termination) == 0
    assert "W&B ended this run; stopped by SIGTERM after step 3" in capsys.readouterr().out
    assert torch.load(only() / folders.LAST, weights_only=True)["global_step"] == 3
    assert not (only() / folders.RESULTS).exists()
