"""Running entries: what reads test rows, what is resumed, what is shared; nothing is trained here."""

import os
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from data_modules import locks, stage
from data_modules.errors import UserError
from mmnar_lightning.config.experiment import ConfigError
from mmnar_lightning.runs import folders, single
from mmnar_lightning.tables import work
from mmnar_lightning.tables.plan import Plan
from tests.helpers.tables import of, planned

TRIALS = {"presence": [["optim.lr=0.1"], ["optim.lr=0.2"], ["optim.lr=0.3"]]}
LOSSES = {0.1: 0.6, 0.2: 0.4, 0.3: 0.5}


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Any, Path]]:
    """What is trained and evaluated: command, settings, folder."""
    found: list[tuple[str, Any, Path]] = []

    def train(config) -> Path:
        folder = Path(os.environ[folders.RUN_ID_VARIABLE])
        folder.mkdir(parents=True, exist_ok=True)
        loss = LOSSES.get(config.optim.lr, 0.9)
        pl.DataFrame({"val/log_loss": [None, loss, loss + 1]}).write_csv(folder / "metrics.csv")
        found.append(("train", config, folder))
        return folder

    monkeypatch.setattr(single, "train", train)
    monkeypatch.setattr(single, "evaluate", lambda config: found.append(("evaluate", config, Path(config.run))))
    monkeypatch.setattr(work, "refusal", lambda config: "")
    monkeypatch.setattr(work, "_check_cohorts", lambda entries: None)
    return found


def small(place: Path, **changed: Any) -> Plan:
    return planned(place, **{"trials": TRIALS, "inner_folds": 2, "seeds": [0], **changed})


def test_only_the_trial_with_the_lowest_held_out_loss_reads_the_test_rows(workplace: Path, calls) -> None:
    found = small(workplace)
    entry = of(found, "presence")[0]
    work.run(found, 0)
    trained = [(config.optim.lr, config.evaluate) for what, config, _ in calls if what == "train"]
    assert trained == [(0.1, False), (0.2, False), (0.3, False)]
    ((config, folder),) = [(config, folder) for what, config, folder in calls if what == "evaluate"]
    assert (config.optim.lr, folder) == (0.2, entry.runs[1])
    assert stage.read_json(entry.outcome) == {"chosen": entry.runs[1].name, "losses": [0.6, 0.4, 0.5]}
    for run in entry.runs:
        assert stage.read_json(run / work.COST)[work.CPU] >= 0


def test_a_single_trial_is_trained_and_evaluated_at_once(workplace: Path, calls) -> None:
    found = small(workplace)
    work.run(found, found.entries.index(of(found, "regression")[0]))
    assert [(what, config.evaluate) for what, config, _ in calls] == [("train", True)]


def test_a_second_call_trains_nothing_and_a_changed_trial_alone_is_trained(workplace: Path, calls) -> None:
    work.run(small(workplace), None)
    assert len(calls) == 2 * (3 + 1) + 2
    calls.clear()
    work.run(small(workplace), None)
    assert not calls
    work.run(small(workplace, trials={"presence": [["optim.lr=0.1"], ["optim.lr=0.5"]]}), 0)
    assert [config.optim.lr for what, config, _ in calls if what == "evaluate"] == [0.1]


def test_what_another_process_runs_is_waited_for_and_not_run_again(workplace: Path, calls, monkeypatch) -> None:
    found = small(workplace)
    first = found.entries[0]
    first.folder.mkdir(parents=True)
    waited: list[bool] = []
    usual = locks.locked

    def locked(path, *, wait=True, **more):
        if path == first.folder / work.LOCK:
            waited.append(wait)
            if not wait:
                raise locks.HeldError(str(path))
            stage.write_json(first.outcome, {"chosen": "theirs", "losses": []})
        return usual(path, wait=wait, **more)

    monkeypatch.setattr(locks, "locked", locked)
    work.run(found, None)
    assert waited == [False, True]
    assert not [folder for _, _, folder in calls if folder.parent == first.folder]
    assert all(entry.outcome.is_file() for entry in found.entries)


def test_a_method_that_cannot_be_built_is_not_trained(workplace: Path, calls, monkeypatch) -> None:
    monkeypatch.setattr(work, "refusal", lambda config: "it needs a score")
    found = small(workplace)
    work.run(found, 0)
    assert not calls
    assert stage.read_json(found.entries[0].outcome) == {"not_applicable": "it needs a score"}


def test_a_method_is_checked_once_for_a_cohort(workplace: Path, calls, monkeypatch) -> None:
    checked: list[int] = []
    monkeypatch.setattr(work, "refusal", lambda config: checked.append(config.cohort.split.test_fold) or "")
    work.run(small(workplace), None)
    assert checked == [0, 0]
    other = small(
        workplace,
        methods={"presence": "baselines/mask_only", "other": "baselines/late_fusion"},
        family={"reference": "other"},
    )
    work.run(other, None)
    assert checked == [0, 0, 0]


def test_a_failed_run_is_an_error_and_no_outcome(workplace: Path, calls, monkeypatch) -> None:
    def fails(config):
        raise UserError("the disk is full")

    monkeypatch.setattr(single, "train", fails)
    found = small(workplace)
    with pytest.raises(UserError, match="the disk is full"):
        work.run(found, 0)
    assert not found.entries[0].outcome.exists()
    with pytest.raises(ConfigError, match=r"table.part=9: there are 4 entries"):
        work.run(found, 9)


def test_time_adds_up_over_starts(tmp_path: Path) -> None:
    for _ in range(2):
        with work.measured(tmp_path):
            sum(range(100_000))
        stage.write_json(tmp_path / work.COST, {work.WALL: 5.0, work.CPU: 7.0})
    with work.measured(tmp_path):
        sum(range(100_000))
    spent = stage.read_json(tmp_path / work.COST)
    assert spent[work.WALL] > 5
    assert 7 < spent[work.CPU] < 60


def test_an_undefined_loss_is_never_the_lowest(tmp_path: Path) -> None:
    (tmp_path / "metrics.csv").write_text("val/log_loss\nNaN\n")
    assert work.held_out_loss(tmp_path) == float("inf")
