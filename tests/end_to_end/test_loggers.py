"""A logger never costs a run: a wrong key, no network, a HOME that is read only."""

from pathlib import Path

import pytest
import wandb

from mmnar_lightning.runs import folders, loggers, single
from tests.helpers.small_runs import compose


@pytest.fixture(autouse=True)
def no_client(monkeypatch: pytest.MonkeyPatch) -> None:
    """No client of W&B that an earlier test has started, which would not read the environment again."""
    for variable in ("WANDB_MODE", "WANDB_SERVICE", loggers.CACHE, loggers.DATA):
        monkeypatch.setenv(variable, "")
        monkeypatch.delenv(variable)
    wandb.teardown()


def _trained(cohort: Path) -> Path:
    folder = single.train(compose(cohort, "trainer.max_epochs=1", "wandb.enabled=true"))
    assert (folder / folders.RESULTS).is_file()
    return folder


@pytest.mark.parametrize("key", ["short", "a" * 40])
def test_a_run_goes_on_offline_where_w_and_b_refuses_it(key, workplace, custom_cohort, monkeypatch, capsys) -> None:
    monkeypatch.setenv("WANDB_API_KEY", key)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")  # no server listens there
    monkeypatch.setattr(loggers, "INIT_SECONDS", 2.0)
    folder = _trained(custom_cohort)
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "W&B" in line]
    assert "it is logged offline" in line
    assert key not in line
    assert list(folder.glob("wandb/offline-run-*"))


def test_a_run_goes_on_where_w_and_b_cannot_be_started(workplace, custom_cohort, monkeypatch, capsys) -> None:
    def refuse(**_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(wandb, "init", refuse)
    folder = _trained(custom_cohort)
    assert "W&B cannot be started ([Errno 13] Permission denied); the run is logged in logs/" in capsys.readouterr().out
    assert (folder / "metrics.csv").is_file()


@pytest.mark.parametrize("home", ["home", "/proc/none"])
def test_the_cache_and_the_logs_of_w_and_b_lie_in_the_run(home, workplace, custom_cohort, monkeypatch) -> None:
    (workplace / "home").mkdir()
    monkeypatch.setenv("HOME", str(workplace / home))
    folder = _trained(custom_cohort)
    assert list(folder.glob("wandb/offline-run-*"))
    assert list(folder.glob("wandb/cache/**/*.log"))
    assert not list((workplace / "home").glob(".cache/wandb"))
