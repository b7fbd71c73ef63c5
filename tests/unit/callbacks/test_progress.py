"""What the progress bar of a training shows."""

from types import SimpleNamespace
from typing import Any

from lightning import LightningModule
from lightning.pytorch.callbacks import RichProgressBar

from mmnar_lightning.callbacks.progress import Progress


def test_the_bar_shows_what_is_logged_and_no_letters_of_the_name_of_the_run() -> None:
    trainer: Any = SimpleNamespace(
        loggers=[SimpleNamespace(version="20261127-simulated")], progress_bar_metrics={"train/loss": 1.5}
    )
    module = LightningModule()
    assert RichProgressBar().get_metrics(trainer, module)["v_num"] == "ated"
    assert Progress().get_metrics(trainer, module) == {"train/loss": 1.5}
