"""The table of rivals: a name, how it is built, and which settings it does not read."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor, nn

from data_modules.batch import Batch
from mmnar_lightning.rivals.boosted_trees import BoostedTrees
from mmnar_lightning.rivals.config import RivalConfig
from mmnar_lightning.rivals.late_fusion import late_fusion
from mmnar_lightning.rivals.mask_only import MaskOnly
from mmnar_lightning.rivals.problem import Problem

OWN_PARTS = ("model.fusion.", "model.loo.", "model.modality_dropout")
"""Settings of the parts that only the paper's model has."""
LABEL_FREE = ("objective.temperature", "objective.anneal_epochs", "objective.auxiliary_floor")
"""Settings of the terms that no rival trains."""


@dataclass(frozen=True, kw_only=True)
class Network:
    """A module `Batch -> ModelOutputs`, trained as the model is.

    Attributes:
        build: gives it with freshly drawn weights.
        read: beginnings of the keys that it reads although they begin as one of `unread`.
        unread: beginnings of the keys that it does not read.
    """

    build: Callable[[Problem, RivalConfig], nn.Module]
    read: tuple[str, ...] = ()
    unread: tuple[str, ...] = (*OWN_PARTS, *LABEL_FREE)


class Estimator(Protocol):
    """What is fitted at once, on all rows of a split.

    Attributes:
        iterations: of every task, once it is fitted.
        losses: of every task, the validation loss after each iteration.
        remarks: lines for people.
    """

    iterations: dict[str, int]
    losses: dict[str, list[float]]
    remarks: list[str]

    def fit(self, train: Batch, val: Batch) -> None:
        """Fit on train; val chooses how long."""

    def predict(self, batch: Batch) -> Tensor:
        """Probabilities, (B, T) float64."""


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """An estimator that is fitted without Lightning, in one process.

    Attributes:
        build: gives it, unfitted, for a seed.
        read: as for a network.
        unread: as for a network.
    """

    build: Callable[[Problem, RivalConfig, int], Estimator]
    read: tuple[str, ...] = ()
    unread: tuple[str, ...] = (
        "model.",
        "objective.",
        "optim.",
        "loader.",
        "trainer.max_epochs",
        "trainer.patience",
        "trainer.devices",
        "trainer.strategy",
        "trainer.precision",
        "transfer.rectifier",
    )


RIVALS: Mapping[str, Network | Fitted] = {
    "late_fusion": Network(
        build=lambda problem, config: late_fusion(problem, config.late_fusion), read=("model.encoder.",)
    ),
    "mask_only": Network(
        build=lambda problem, config: MaskOnly(problem, config.mask_only), unread=("model.", *LABEL_FREE)
    ),
    "boosted_trees": Fitted(build=lambda problem, config, seed: BoostedTrees(problem, config.boosted_trees, seed)),
}
"""Name -> rival."""
