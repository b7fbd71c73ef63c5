"""What a model gives back for a batch."""

from dataclasses import dataclass, field

from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class LeaveOneOut:
    """What the model told of every modality from the others (docs/method.md, section 2).

    Attributes:
        present: (B, M) bool, what the model was shown.
        weight: (B, M) float, of an entry in a mean over entries; 0 where it was not computed.
        reconstructions: (B, M, D) float; None if the model has no decoders.
        projected: projected encodings and reconstructions, each (B, M, D) float; None without contrast.
        assignment: (B, M) float, logits of presence; None without an assignment head.
        assignment_weight: (B, M) float, `weight` where the assignment is to be learnt, else 0.
    """

    present: Tensor
    weight: Tensor
    reconstructions: Tensor | None = None
    projected: tuple[Tensor, Tensor] | None = None
    assignment: Tensor | None = None
    assignment_weight: Tensor


@dataclass(frozen=True, kw_only=True)
class SideHeads:
    """Logits that are trained beside those of the model, for example of every modality on its own.

    Attributes:
        logits: (B, H, T) float, of H heads.
        shown: (B, H) bool, the rows that a head learns from.
    """

    logits: Tensor
    shown: Tensor


@dataclass(frozen=True, kw_only=True)
class ModelOutputs:
    """Outputs of a model.

    Attributes:
        logits: (B, T) float, before the sigmoid.
        representation: (B, D) float, the fused representation.
        encodings: (B, M, D) float, one encoding a modality; zero where absent.
        leave_one_out: in training, what the auxiliary terms are made of; None where there are none.
        side: heads that learn the tasks as well, each task with its weight; None where there are none.
        terms: extra loss terms by name, each a scalar.
    """

    logits: Tensor
    representation: Tensor
    encodings: Tensor
    leave_one_out: LeaveOneOut | None = None
    side: SideHeads | None = None
    terms: dict[str, Tensor] = field(default_factory=dict)
