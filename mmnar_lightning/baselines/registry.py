"""The table of baselines: name, builder, and the settings that each does not read.

It loads no torch: a baseline is imported when it is built, so that every command can check which settings are read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from inspect import signature
from typing import TYPE_CHECKING, Any, Protocol

from data_modules.errors import UserError
from data_modules.vocabulary import TaskKind
from mmnar_lightning import lean_torchmetrics

if TYPE_CHECKING:
    from torch import Tensor, nn

    from data_modules.batch import Batch
    from mmnar_lightning.baselines.config import BaselineConfig
    from mmnar_lightning.baselines.inputs import BaselineInputs

NO_TERMS: Mapping[str, object] = {
    "objective.reconstruction": 0.0,
    "objective.contrast": 0.0,
    "objective.assignment": 0.0,
}
"""Weights of the terms that baselines do not have."""


@dataclass(frozen=True, kw_only=True)
class NetworkBaseline:
    """A module `Batch -> ModelOutputs`, trained as the model is.

    Attributes:
        build: builds it with new random weights.
        read: prefixes of keys that it reads although a prefix in `unread` covers them.
        unread: prefixes of keys that it does not read.
        off: keys of parts that it lacks -> the values that switch them off, as experiments/baselines/ sets them.
        needs_memory: whether it reads the frozen memory of train rows (baselines/memory.py).
        kinds: of the tasks that it can be trained on.
    """

    build: Callable[[BaselineInputs, BaselineConfig], nn.Module]
    read: tuple[str, ...] = ()
    unread: tuple[str, ...] = ("model.", "objective.temperature", "objective.anneal_epochs")
    off: Mapping[str, object] = field(default_factory=lambda: NO_TERMS)
    needs_memory: bool = False
    kinds: tuple[TaskKind, ...] = ("binary", "value")


class Estimator(Protocol):
    """A model that is fitted in one call, on all rows of a split.

    With inner folds, a method `choose(task, iteration)`, numbered from 1, lets the copies of all folds predict with the
    same iteration; copies of an estimator without it each keep their own.

    Attributes:
        iterations: of every task, after the fit.
        losses: of every task, the validation loss after each iteration.
        remarks: lines to show to the user.
    """

    iterations: dict[str, int]
    losses: dict[str, list[float]]
    remarks: list[str]

    def fit(self, train: Batch, val: Batch) -> None:
        """Fit on train, whose rows may have a `weight`; val chooses the number of iterations."""

    def predict(self, batch: Batch) -> Tensor:
        """Predict probabilities, (B, T) float64; of numbers, standardised ones."""


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
    "trainer.accumulate",
    "trainer.deterministic",
    "trainer.compile",
    "trainer.profiler",
    "trainer.extra",
    "callbacks",
    "transfer.rectifier",
)
"""Settings of networks and their training."""


@dataclass(frozen=True, kw_only=True)
class EstimatorBaseline:
    """An estimator that is fitted without Lightning, in one process.

    Attributes:
        build: builds it, unfitted, with a seed.
        read: as for a network.
        unread: as for a network.
        off: as for a network.
        raw_tables: whether it reads tables as stored, NaN for values that were not measured.
        weighted: whether its fit reads `Batch.weight`, so that `baseline.inverse_probability` can weight it.
        kinds: of the tasks that it can be fitted on; of numbers it predicts standardised ones.
    """

    build: Callable[[BaselineInputs, BaselineConfig, int], Estimator]
    raw_tables: bool = False
    weighted: bool = True
    kinds: tuple[TaskKind, ...] = ("binary",)
    read: tuple[str, ...] = ()
    unread: tuple[str, ...] = ESTIMATOR_UNREAD
    off: Mapping[str, object] = field(default_factory=lambda: {**NO_TERMS, "rectifier.fit": "none"})


def _own(name: str) -> Any:
    """A module of this folder."""
    return import_module(f"mmnar_lightning.baselines.{name}")


BASELINES: Mapping[str, NetworkBaseline | EstimatorBaseline] = {
    "late_fusion": NetworkBaseline(
        build=lambda inputs, config: _own("late_fusion").late_fusion(inputs, config.late_fusion),
        read=("model.encoder.",),
    ),
    "mask_only": NetworkBaseline(build=lambda inputs, config: _own("mask_only").MaskOnly(inputs)),
    "boosted_trees": EstimatorBaseline(
        build=lambda inputs, config, seed: _own("boosted_trees").BoostedTrees(inputs, config.boosted_trees, seed),
        raw_tables=True,
        kinds=("binary", "value"),
    ),
    "logistic_regression": EstimatorBaseline(
        build=lambda inputs, config, seed: _own("logistic_regression").LogisticRegression(
            inputs, sites=config.refit == "joint"
        ),
        read=("model.encoder.", "model.additive."),
        kinds=("binary", "value"),
    ),
    "pattern_submodels": EstimatorBaseline(
        build=lambda inputs, config, seed: _own("pattern_submodels").PatternSubmodels(inputs),
        read=("model.encoder.", "model.additive.inverse_penalties"),
    ),
    "modality_stack": EstimatorBaseline(
        build=lambda inputs, config, seed: _own("modality_stack").ModalityStack(inputs),
        read=("model.encoder.", "model.additive.inverse_penalties"),
    ),
    "published_score": EstimatorBaseline(
        build=lambda inputs, config, seed: _own("published_score").PublishedScore(inputs, config.published_score),
        unread=(*ESTIMATOR_UNREAD, "transfer."),
        weighted=False,
    ),
    "shaspec": NetworkBaseline(
        build=lambda inputs, config: _own("shaspec").ShaSpec(inputs, config.shaspec), read=("model.encoder.",)
    ),
    "drfuse": NetworkBaseline(
        build=lambda inputs, config: _own("drfuse").DrFuse(inputs, config.drfuse),
        read=("model.encoder.",),
        kinds=("binary",),
    ),
    "mmtm": NetworkBaseline(build=lambda inputs, config: _own("mmtm").MMTM(inputs), read=("model.encoder.",)),
    "medfuse": NetworkBaseline(build=lambda inputs, config: _own("medfuse").MedFuse(inputs), read=("model.encoder.",)),
    "cm_ae": NetworkBaseline(
        build=lambda inputs, config: _own("cm_ae").CrossModalAutoencoder(inputs, config.cm_ae), read=("model.encoder.",)
    ),
    "tabm": NetworkBaseline(
        build=lambda inputs, config: _own("tabm").TabM(inputs, config.tabm), read=("model.encoder.",)
    ),
    "flex_moe": NetworkBaseline(
        build=lambda inputs, config: _own("flex_moe").FlexMoE(inputs, config.flex_moe), read=("model.encoder.",)
    ),
    "m3care": NetworkBaseline(
        build=lambda inputs, config: _own("m3care").M3Care(inputs), read=("model.encoder.",), needs_memory=True
    ),
    "muse": NetworkBaseline(
        build=lambda inputs, config: _own("muse").Muse(inputs),
        read=("model.encoder.",),
        needs_memory=True,
        kinds=("binary",),
    ),
    "grape": NetworkBaseline(
        build=lambda inputs, config: _own("grape").Grape(inputs), read=("model.encoder.",), needs_memory=True
    ),
}
"""Name -> baseline."""


def find(name: str) -> NetworkBaseline | EstimatorBaseline:
    """Find a baseline by name.

    Args:
        name: of this project, or `package.module:Name` of another: a `NetworkBaseline` or an `EstimatorBaseline`, or a
            class of either kind (docs/baselines.md).

    Returns:
        The baseline.

    Raises:
        UserError: when it cannot be imported, or is neither.
    """
    if ":" not in name:
        return BASELINES[name]
    lean_torchmetrics.complete()
    module, _, attribute = name.partition(":")
    try:
        found = getattr(import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise UserError(
            f"baseline.name={name}: {error}; install the package, or add its folder to PYTHONPATH"
        ) from error
    if isinstance(found, NetworkBaseline | EstimatorBaseline):
        return found
    from torch import nn

    if isinstance(found, type) and issubclass(found, nn.Module):
        return NetworkBaseline(build=lambda inputs, config: _built(found, inputs, config.settings))
    if isinstance(found, type) and callable(getattr(found, "fit", None)) and callable(getattr(found, "predict", None)):
        return EstimatorBaseline(
            build=lambda inputs, config, seed: _built(found, inputs, config.settings, seed=seed),
            raw_tables=bool(getattr(found, "raw_tables", False)),
            weighted=bool(getattr(found, "weighted", False)),
            kinds=tuple(getattr(found, "kinds", ("binary",))),
        )
    raise UserError(
        f"baseline.name={name}: expected a subclass of torch.nn.Module, or a class with `fit(train, val)` and "
        "`predict(batch)`"
    )


def _built(found: Any, inputs: Any, settings: Mapping[str, Any], **seed: int) -> Any:
    """Build a class of another package; settings that it does not take are refused by name."""
    try:
        signature(found).bind(inputs, **seed, **settings)
    except TypeError as error:
        raise UserError(f"baseline.settings={dict(settings)}: {found.__qualname__}: {error}") from None
    return found(inputs, **seed, **settings)
