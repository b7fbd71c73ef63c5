"""Further processes of a table: their command, their end, and what is said of one that failed."""

import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from data_modules.errors import UserError
from mmnar_lightning.config.table import TableConfig
from mmnar_lightning.tables import processes
from tests.helpers.processes import PATIENCE

RESTING = "import os, time; print(os.getpid(), flush=True); time.sleep(600)"


def become(monkeypatch: pytest.MonkeyPatch, code: str) -> list[list[str]]:
    """Let further processes run some code; returns the words that each is started with."""
    seen: list[list[str]] = []

    def command(words: Sequence[str]) -> list[str]:
        seen.append(list(words))
        return [sys.executable, "-c", code]

    monkeypatch.setattr(processes, "command", command)
    return seen


def said(log: Path) -> str:
    """What a process wrote, once it wrote anything."""
    end = time.monotonic() + PATIENCE
    while not (text := log.read_text()):
        assert time.monotonic() < end
        time.sleep(0.01)
    return text


def is_alive(number: int) -> bool:
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize("error", [None, RuntimeError])
def test_all_but_this_one_are_started_and_none_outlives_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[Exception] | None
) -> None:
    seen = become(monkeypatch, RESTING)

    def work() -> None:
        with processes.beside(["table.name=own"], 3, tmp_path):
            started.extend(int(said(tmp_path / f"process-{number}.log")) for number in (2, 3))
            assert all(map(is_alive, started))
            if error is not None:
                raise error

    started: list[int] = []
    if error is None:
        work()
    else:
        with pytest.raises(error):
            work()
    assert seen == [["table.name=own"]] * 2
    assert not any(map(is_alive, started))


def test_one_process_starts_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = become(monkeypatch, RESTING)
    with processes.beside([], 1, tmp_path):
        assert not seen
    assert not list(tmp_path.iterdir())


def test_one_that_fails_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    become(monkeypatch, "import sys; print('no', flush=True); sys.exit(3)")
    with processes.beside([], 2, tmp_path):
        said(tmp_path / "process-2.log")
        time.sleep(0.5)
    assert "process 2 ended with status 3" in " ".join(capsys.readouterr().out.split())


def test_the_words_of_the_command_are_kept_and_it_starts_no_more() -> None:
    assert processes.command(["table.name=own", "table.processes=2"])[-3:] == [
        "table.name=own",
        "table.processes=2",
        "table.processes=1",
    ]


def test_one_entry_has_one_process() -> None:
    with pytest.raises(UserError, match=r"table.processes=2 share all entries, but table.part=3 runs one"):
        TableConfig(part=3, processes=2)
