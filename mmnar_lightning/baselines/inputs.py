"""Inputs that every baseline is built from."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from data_modules.errors import UserError
from data_modules.vocabulary import ARRAY_KINDS, Modality, TaskKind
from mmnar_lightning.baselines.memory import Memory
from mmnar_lightning.nn.config import AdditiveConfig
from mmnar_lightning.nn.encoders import ItemParts
from mmnar_lightning.nn.inputs import InputMaps

EMBED_FIRST = "use a frozen encoder, for example embed.text.encoder=hashed_ngrams, embed.image.encoder=release"
"""How to give an estimator texts or images."""


@dataclass(frozen=True, kw_only=True)
class BaselineInputs:
    """Properties of a cohort that a baseline may use before training.

    Attributes:
        modalities: M modalities, in the order of the pattern's bits.
        tasks: T task names, in the order of the logits.
        prior: (T,) float, the logit of each task's share of positives among the known labels of train.
        maps: modality -> the fixed map that its vectors pass first: principal axes, or a piecewise-linear encoding.
        items: modality -> the parts that read its items; all others are arrays.
        beside: modalities whose own columns a linear model reads beside those of their map.
        additive: penalties and slopes of a linear model.
        scores: name -> (N, T) float64, published predictions of the cohort's rows, NaN where missing.
        points: name -> (N,) float64, points of published scores of the cohort's rows, NaN where missing.
        kind: of the tasks.
        memory: means of train rows, for a baseline that needs it; None = the weights that are loaded bring it.
    """

    modalities: Sequence[Modality]
    tasks: Sequence[str]
    prior: Tensor
    maps: InputMaps = field(default_factory=dict)
    items: Mapping[str, ItemParts] = field(default_factory=dict)
    beside: Collection[str] = ()
    scores: Mapping[str, Tensor] = field(default_factory=dict)
    points: Mapping[str, Tensor] = field(default_factory=dict)
    additive: AdditiveConfig = field(default_factory=AdditiveConfig)
    kind: TaskKind = "binary"
    memory: Memory | None = None


def check_vectors(method: str, modalities: Sequence[Modality]) -> None:
    """Refuse modalities that a method of one vector per row cannot read.

    Args:
        method: as the message names it.
        modalities: of the cohort.

    Raises:
        UserError: for the first modality whose texts or images reach the model as items.
    """
    for modality in modalities:
        if modality.kind not in ARRAY_KINDS:
            raise UserError(
                f"{method} needs one vector per row, but {modality.name} has {modality.kind}; {EMBED_FIRST}"
            )


def prior_logit(label: Tensor, label_mask: Tensor) -> Tensor:
    """Compute the logit of each task's share of positives; half a row is added to each class to keep it finite.

    Args:
        label: (N, T) float, 0 or 1; undefined where unknown.
        label_mask: (N, T) bool, True = known.

    Returns:
        (T,) float; 0 for a task without a known label.

    >>> label = torch.tensor([[1.0, 0.0], [0.0, 0.0], [0.0, 0.0], [0.0, 9.0]])
    >>> prior_logit(label, label < 2).sigmoid()
    tensor([0.3000, 0.1250])
    """
    positive = torch.where(label_mask, label, 0.0).sum(0) + 0.5
    return torch.log(positive / (label_mask.sum(0) + 1 - positive))


def prior_head(width: int, prior: Tensor) -> nn.Linear:
    """Build a linear head, (B, width) -> (B, T), whose bias starts at the prior.

    The best epoch is chosen by a rank metric and may be an early one; the prior keeps its probabilities calibrated.

    Args:
        width: of the input.
        prior: (T,) logit of each task's share of positives.

    Returns:
        The head.
    """
    head = nn.Linear(width, len(prior))
    with torch.no_grad():
        head.bias.copy_(prior)
    return head
