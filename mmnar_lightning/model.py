"""The model: encoders, fusion conditioned on the pattern, task heads and leave-one-out heads."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from data_modules.batch import Batch
from data_modules.errors import UserError
from data_modules.vocabulary import Modality
from mmnar_lightning.nn.additive import AdditiveHead
from mmnar_lightning.nn.config import ModelConfig
from mmnar_lightning.nn.decoders import AssignmentHead, Decoders
from mmnar_lightning.nn.encoders import Encoders, ItemParts
from mmnar_lightning.nn.fusion import Fusion
from mmnar_lightning.nn.heads import TaskHeads
from mmnar_lightning.nn.hiding import Hiding, drop, hide
from mmnar_lightning.nn.inputs import InputMaps
from mmnar_lightning.nn.mlp import projection
from mmnar_lightning.outputs import LeaveOneOut, ModelOutputs

NOT_CHOSEN = -1.0
"""Strength of a network that is still trained."""


def strength_of(model: nn.Module) -> float | None:
    """How much the networks within a model count beside their additive heads; None without such a head."""
    found = _strengths(model)
    return float(found[0]) if found else None


def set_strength(model: nn.Module, strength: float) -> None:
    """Set how much all networks within a model count beside their additive heads.

    Args:
        model: an `MMNARModel`, or an ensemble of such models; others are left as they are.
        strength: in [0, 1], or `NOT_CHOSEN`.
    """
    for own in _strengths(model):
        own.fill_(strength)


def _strengths(model: nn.Module) -> list[Tensor]:
    members = (part for part in model.modules() if isinstance(part, MMNARModel))
    return [member.strength for member in members if member.strength is not None]


class MMNARModel(nn.Module):
    """CRL-MMNAR for any number of modalities and tasks.

    In training the outputs include the inputs of the auxiliary terms. Encoders run once; a row and its copies with one
    modality hidden are fused in one batched call.

    Args:
        modalities: M modalities, in the order of the pattern's bits.
        num_tasks: T.
        config: settings of the parts.
        auxiliary: trained terms among `reconstruction`, `contrast` and `assignment`; the others have no parameters.
        assignable: (M,) bool, modalities whose presence varies among the train rows; None = all.
        maps: modality -> the fixed map that its vectors pass first.
        items: modality name -> backbone and pooling of its items; other modalities are arrays.
        patterns: P pattern ids of the cohort, for the additive head.
        beside: modalities whose own columns the additive head reads beside those of their map.
    """

    assignable: Tensor
    strength: Tensor | None
    """Scalar in [0, 1], how much the network counts beside the additive head; `NOT_CHOSEN` counts as 1."""

    def __init__(
        self,
        modalities: Sequence[Modality],
        num_tasks: int,
        config: ModelConfig,
        auxiliary: Collection[str] = (),
        assignable: Tensor | None = None,
        maps: InputMaps | None = None,
        items: Mapping[str, ItemParts] | None = None,
        patterns: Sequence[int] = (),
        beside: Collection[str] = (),
    ) -> None:
        super().__init__()
        dim, dropout, count = config.fusion.dim, config.fusion.dropout, len(modalities)
        self.config = config
        self.encoders = Encoders(modalities, dim, dropout, maps, items)
        self.fusion = Fusion(count, config.fusion)
        self.heads = TaskHeads(num_tasks, dim, dropout, shared=config.heads == "shared")
        self.additive = None
        if config.additive.inverse_penalties:
            slopes, canonical = config.additive.slopes, config.additive.canonical
            self.additive = AdditiveHead(
                modalities, patterns, num_tasks, maps or {}, slopes, beside, canonical=canonical
            )
            self.additive.requires_grad_(False)  # a few steps would undo its penalty
            self.heads.zero_init()
        self.register_buffer("strength", None if self.additive is None else torch.tensor(NOT_CHOSEN))
        self.decoders = Decoders(count, dim, dropout) if {"reconstruction", "contrast"} & set(auxiliary) else None
        self.contrast = projection(dim, dim, dropout) if "contrast" in auxiliary else None
        self.assignment = AssignmentHead(count, dim, dropout) if "assignment" in auxiliary else None
        self.register_buffer("assignable", torch.ones(count, dtype=torch.bool) if assignable is None else assignable)

    @property
    def has_auxiliary(self) -> bool:
        """Whether any modality is predicted from the others."""
        return self.decoders is not None or self.assignment is not None

    def forward(self, batch: Batch) -> ModelOutputs:
        """Encode, fuse and predict; in training also predict hidden modalities from the others."""
        if not self.training:
            return self._predict(batch)
        shown = replace(batch, present=drop(batch.present, self.config.modality_dropout))
        if not self.has_auxiliary:
            return self._predict(shown)
        encodings = self.encoders(shown)
        hiding = hide(shown.present, self.config.loo.sampled)
        representation, without = self._leave_one_out(encodings, shown.present, hiding)
        assignable = self.assignable & (shown.present == batch.present)
        return ModelOutputs(
            logits=self._logits(representation, shown),
            representation=representation,
            encodings=encodings,
            leave_one_out=self._predict_hidden(encodings, without, shown.present, hiding.weight, assignable),
        )

    @torch.no_grad()
    def propensities(self, batch: Batch) -> Tensor:
        """P(present_m = 1 | the rest).

        Args:
            batch: B rows.

        Returns:
            (B, M) float in [0, 1].

        Raises:
            UserError: if the model has no assignment head.
        """
        if self.assignment is None:
            raise UserError("objective.assignment=0: this model has no assignment head, hence no propensities")
        encodings = self.encoders(batch)
        _, without = self._leave_one_out(encodings, batch.present, hide(batch.present, 0))
        return torch.sigmoid(self.assignment(without))

    def _predict(self, batch: Batch) -> ModelOutputs:
        encodings = self.encoders(batch)
        representation = self.fusion(encodings, batch.present)
        logits = self._logits(representation, batch)
        return ModelOutputs(logits=logits, representation=representation, encodings=encodings)

    def _logits(self, representation: Tensor, batch: Batch) -> Tensor:
        joint: Tensor = self.heads(representation)
        if self.additive is None or self.strength is None:
            return joint
        if not self.training:
            joint = joint * self.strength.where(self.strength >= 0, 1.0)
        linear: Tensor = self.additive(batch)
        return joint + linear

    def _leave_one_out(self, encodings: Tensor, present: Tensor, hiding: Hiding) -> tuple[Tensor, Tensor]:
        """h, (B, D), and h without each modality, (B, M, D); equal to h for absent modalities and those not hidden."""
        num_rows, count, dim = encodings.shape
        shown = torch.cat([present[:, None], hiding.reduced(present)], dim=1)
        copies = shown.shape[1]
        repeated = encodings[:, None].expand(-1, copies, -1, -1).reshape(-1, count, dim)
        fused = self.fusion(repeated, shown.flatten(0, 1)).view(num_rows, copies, dim)
        place = hiding.modality[..., None].expand(-1, -1, dim)
        return fused[:, 0], fused[:, :1].expand(-1, count, -1).scatter(1, place, fused[:, 1:])

    def _predict_hidden(
        self, encodings: Tensor, without: Tensor, present: Tensor, weight: Tensor, assignable: Tensor
    ) -> LeaveOneOut:
        """Reconstructions and presence logits from h without each modality."""
        reconstructions = self.decoders(without) if self.decoders is not None else None
        projected = None
        if self.contrast is not None:
            projected = self.contrast(encodings), self.contrast(reconstructions)
        return LeaveOneOut(
            present=present,
            weight=weight,
            reconstructions=reconstructions,
            projected=projected,
            assignment=self.assignment(without) if self.assignment is not None else None,
            assignment_weight=weight * assignable,
        )
