"""Nothing that is printed is cut, whatever the width."""

import subprocess
import sys
from io import StringIO
from types import SimpleNamespace

import pytest
from rich.console import Console
from rich.progress import Progress

from mmnar_lightning import console

LONG = ["a/very/long/path/" * 10, "0.123 (0.100 to 0.150)", "wörd" * 30]


def printed(capsys: pytest.CaptureFixture[str]) -> str:
    console.show("a title that is rather long for a table of this width, and longer still", ["first", "b", "c"], [LONG])
    console.say("x" * 300)
    return capsys.readouterr().out


def test_a_pipe_has_each_row_on_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    text = printed(capsys)
    assert any(all(cell in line for cell in LONG) for line in text.splitlines())
    assert "x" * 300 in text.splitlines()


def test_a_narrow_terminal_folds_cells_and_cuts_none(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(console, "_CONSOLE", Console(highlight=False, soft_wrap=True, width=80))
    text = printed(capsys)
    assert "…" not in text
    for column, cell in enumerate(LONG):
        rows = [line for line in text.splitlines() if line.startswith("│")]
        assert cell.replace(" ", "") in "".join(row.split("│")[column + 1] for row in rows).replace(" ", "")


def test_lightning_advertises_nothing_even_if_it_is_imported_later() -> None:
    program = (
        "from mmnar_lightning import lean_torchmetrics; lean_torchmetrics.install(); "  # as the program does
        "from mmnar_lightning.console import quieten; quieten(); import lightning, logging; "
        "lightning.Trainer(accelerator='cpu', logger=False, enable_checkpointing=False)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout + done.stderr == ""


def test_a_bar_is_shown_after_its_time_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(console, "time", SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setattr(console, "_CONSOLE", Console(force_terminal=True, file=StringIO()))
    started: list[float] = []
    start = Progress.start
    monkeypatch.setattr(Progress, "start", lambda bar: (started.append(now[0]), start(bar))[-1])
    with console.progress("scoring", 3, after=5.0) as advance:
        for second in (1.0, 6.0, 7.0):
            now[0] = second
            advance(1)
    assert started == [6.0]
    console.show_bars(False)
    try:
        with console.progress("scoring", 3) as advance:
            advance(1)
    finally:
        console.show_bars(True)
    assert started == [6.0], "trainer.progress_bar=false"


def test_without_a_terminal_long_work_says_once_how_long_it_takes(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr(console, "time", SimpleNamespace(monotonic=lambda: now[0]))
    for after, shown in ((5.0, True), (5.0, False), (0.0, True)):
        console.show_bars(shown)
        now[0] = 0.0
        try:
            with console.progress("scoring", 10, after=after) as advance:
                for second in (1.0, 6.0, 7.0):
                    now[0] = second
                    advance(1)
        finally:
            console.show_bars(True)
    assert capsys.readouterr().out.splitlines() == ["scoring: about 30 s"]


def test_where_runs_are_silenced_a_warning_about_what_they_share_is_printed_once(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(console, "_WARNED", set())
    for _ in range(2):
        with console.silenced():
            console.say("a line")
            console.warn("3 rows have no prediction")
            console.warn_of_all_runs("labs is dropped")
    assert capsys.readouterr().out.splitlines() == ["! labs is dropped"]
    console.warn_of_all_runs("labs is dropped")
    assert capsys.readouterr().out.splitlines() == ["! labs is dropped"]
