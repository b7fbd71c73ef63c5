"""When the offset of the loss is fitted."""

from types import SimpleNamespace
from typing import cast

import pytest
from lightning import Trainer

from mmnar_lightning.callbacks.loss_offset import LossOffsetFit
from mmnar_lightning.rectifier.config import RectifierConfig


class Recording(LossOffsetFit):
    """Notes the epochs of the fits in place of fitting."""

    def __init__(self, epochs: list[int], *given) -> None:
        super().__init__(*given)
        self.epochs = epochs

    def _fit(self, trainer, module) -> None:
        self.epochs.append(trainer.current_epoch)


def run(callback: Recording, epochs) -> list[int]:
    for epoch in epochs:
        callback.on_train_epoch_start(cast(Trainer, SimpleNamespace(current_epoch=epoch)), None)
    return callback.epochs


@pytest.mark.parametrize(
    ("settings", "pretrain", "expected"),
    [
        ({"start_epoch": 2}, 0, [2]),
        ({"start_epoch": 0}, 0, [0]),
        ({"start_epoch": 2}, 3, [5]),
        ({"start_epoch": 50}, 0, []),
    ],
)
def test_it_is_fitted_once_at_its_epoch(settings, pretrain, expected) -> None:
    assert run(Recording([], RectifierConfig(**settings), pretrain), range(7)) == expected


@pytest.mark.parametrize("stop", range(7))
def test_a_resumed_run_fits_in_the_epochs_in_which_the_whole_one_did(stop: int) -> None:
    config = RectifierConfig(start_epoch=2)
    whole = run(Recording([], config), range(7))
    first = Recording([], config)
    run(first, range(stop))
    second = Recording(first.epochs, config)
    second.load_state_dict(first.state_dict())
    assert run(second, range(stop, 7)) == whole
    again = Recording([], config)
    again.load_state_dict(second.state_dict())
    assert run(again, [6]) == [], "stopped inside an epoch: the offset of that epoch is there already"


def test_its_state_is_plain_and_holds_no_setting() -> None:
    callback = Recording([], RectifierConfig(start_epoch=1))
    run(callback, range(3))
    assert callback.state_dict() == {"fitted_epoch": 1}
