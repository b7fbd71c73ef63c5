"""What W&B's own client says of the shipped sweeps, and of who is logged in."""

from pathlib import Path

import pytest

from mmnar_lightning.config.compose import load
from mmnar_lightning.sweeps import online
from mmnar_lightning.sweeps.space import read
from tests.helpers.wandb_server import Server
from tests.unit.sweeps.test_space import FILES


def test_the_real_client_accepts_every_shipped_sweep(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Server() as server:
        for name, value in server.environment().items():
            monkeypatch.setenv(name, value)
        for path in FILES:
            plain = read(path).plain
            made = online.create(plain, load([]))
            sent = server.sweeps[made.rpartition("/")[2]]["config"]
            assert {key: sent[key] for key in plain} == plain, path


def test_a_key_that_the_client_would_find_is_a_login(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_BASE_URL", "https://wandb.example.org")
    monkeypatch.setenv("NETRC", str(workplace / "netrc"))
    assert not online.is_logged_in()
    (workplace / "netrc").write_text(f"machine wandb.example.org\n  login user\n  password {'0' * 40}\n")
    assert online.is_logged_in()
    (workplace / "netrc").unlink()
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    assert online.is_logged_in()
