"""The table of baselines: a name, how it is built, and which settings it does not read."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from torch import Tensor, nn

from data_modules.batch import Batch
from mmnar_lightning.baselines.boosted_trees import BoostedTrees
from mmnar_lightning.baselines.config import BaselineConfig
from mmnar_lightning.baselines.inputs import Problem
from mmnar_lightning.baselines.late_fusion import late_fusion
from mmnar_lightning.baselines.logistic_regression import LogisticRegression
from mmnar_lightning.baselines.mask_only import MaskOnly
from mmnar_lightning.baselines.published_score import PublishedScore

NO_TERMS: Mapping[str, object] = {
    "objective.reconstruction": 0.0,
    "objective.contrast": 0.0,
    "objective.assignment": 0.0,
}
"""Weights of terms that a baseline does not have."""


@dataclass(frozen=True, kw_only=True)
class Network:
    """A module `Batch -> ModelOutputs`, trained as the model is.

    Attributes:
        build: gives it with freshly drawn weights.
        read: beginnings of the keys that it reads although they begin as one of `unread`.
        unread: beginnings of the keys that it does not read.
        off: what it does not have, and the values that say so; the layers of experiments/baselines/ set them.
    """

    build: Callable[[Problem, BaselineConfig], nn.Module]
    read: tuple[str, ...] = ()
    unread: tuple[str, ...] = ("model.", "objective.temperature", "objective.anneal_epochs")
    off: Mapping[str, object] = field(default_factory=lambda: NO_TERMS)


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


ESTIMATOR_UNREAD = (
    "model.",
    "objective.",
    "optim.",
    "loader.",
    "rectifier.",
    "trainer.max_epochs",
    "trainer.patience",
    "trainer.devices",
    "trainer.strategy",
    "trainer.precision",
    "transfer.rectifier",
)
"""Settings of networks and of how they are trained."""


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """An estimator that is fitted without Lightning, in one process.

    Attributes:
        build: gives it, unfitted, for a seed.
        read: as for a network.
        unread: as for a network.
        off: as for a network.
        raw_tables: whether tables come as they were stored, NaN where a value was not measured.
    """

    build: Callable[[Problem, BaselineConfig, int], Estimator]
    raw_tables: bool = False
    read: tuple[str, ...] = ()
    unread: tuple[str, ...] = ESTIMATOR_UNREAD
    off: Mapping[str, object] = field(default_factory=lambda: {**NO_TERMS, "rectifier.fit": "none"})


BASELINES: Mapping[str, Network | Fitted] = {
    "late_fusion": Network(
        build=lambda problem, config: late_fusion(problem, config.late_fusion), read=("model.encoder.",)
    ),
    "mask_only": Network(build=lambda problem, config: MaskOnly(problem)),
    "boosted_trees": Fitted(
        build=lambda problem, config, seed: BoostedTrees(problem, config.boosted_trees, seed), raw_tables=True
    ),
    "logistic_regression": Fitted(
        build=lambda problem, config, seed: LogisticRegression(problem, config.logistic_regression),
        read=("model.encoder.",),
    ),
    "published_score": Fitted(
        build=lambda problem, config, seed: PublishedScore(problem, config.published_score),
        unread=(*ESTIMATOR_UNREAD, "transfer."),
    ),
}
"""Name -> baseline."""
