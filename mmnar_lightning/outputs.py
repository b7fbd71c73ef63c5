"""Outputs of a model for a batch, and the predictions of rows that are scored."""

from dataclasses import dataclass, field, replace
from functools import cached_property

from torch import Tensor

from data_modules import patterns


@dataclass(frozen=True, kw_only=True)
class LeaveOneOut:
    """Predictions of every modality from the others (docs/method.md, section 2).

    Attributes:
        present: (B, M) bool, modalities that the model was shown.
        weight: (B, M) float, weight of an entry in a mean over entries; 0 where it was not computed.
        reconstructions: (B, M, D) float; None if the model has no decoders.
        projected: projected encodings and reconstructions, each (B, M, D) float; None without contrast.
        assignment: (B, M) float, logits of presence; None without an assignment head.
        assignment_weight: (B, M) float, `weight` where the assignment is trained, else 0.
    """

    present: Tensor
    weight: Tensor
    reconstructions: Tensor | None = None
    projected: tuple[Tensor, Tensor] | None = None
    assignment: Tensor | None = None
    assignment_weight: Tensor


@dataclass(frozen=True, kw_only=True)
class SideHeads:
    """Logits trained in addition to those of the model, for example of each modality alone.

    Attributes:
        logits: (B, H, T) float, of H heads.
        shown: (B, H) bool, the rows that a head is trained on.
    """

    logits: Tensor
    shown: Tensor


@dataclass(frozen=True, kw_only=True)
class ModelOutputs:
    """Outputs of a model.

    Attributes:
        logits: (B, T) float, before the sigmoid.
        representation: (B, D) float, the fused representation.
        encodings: (B, M, D) float, one encoding per modality; zero where absent.
        leave_one_out: in training, the inputs of the auxiliary terms; None without them.
        side: heads trained on the tasks with the same task weights; None without them.
        terms: name -> additional loss term, a scalar.
    """

    logits: Tensor
    representation: Tensor
    encodings: Tensor
    leave_one_out: LeaveOneOut | None = None
    side: SideHeads | None = None
    terms: dict[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, eq=False)
class ScoredRows:
    """Rows of a cohort with their labels and predictions, each row once.

    Attributes:
        row_id: (N,) int64.
        subject: (N,) int64, dense index.
        present: (N, M) bool.
        logits: (N, T) float64; infinite where a probability is 0 or 1.
        label: (N, T) float64; 0 where unknown.
        label_mask: (N, T) bool.
    """

    row_id: Tensor
    subject: Tensor
    present: Tensor
    logits: Tensor
    label: Tensor
    label_mask: Tensor

    def __len__(self) -> int:
        """N."""
        return len(self.row_id)

    @cached_property
    def probability(self) -> Tensor:
        """(N, T) float64 in [0, 1]."""
        return self.logits.sigmoid()

    @cached_property
    def pattern(self) -> Tensor:
        """(N,) int64, pattern ids."""
        return patterns.encode(self.present)

    @property
    def labelled(self) -> dict[str, Tensor]:
        """What a rectifier is fitted on."""
        names = ("logits", "label", "label_mask", "present", "subject")
        return {name: getattr(self, name) for name in names}

    def with_logits(self, logits: Tensor) -> "ScoredRows":
        """The same rows with other predictions."""
        return replace(self, logits=logits)

    def select(self, chosen: Tensor) -> "ScoredRows":
        """Select rows.

        Args:
            chosen: (N,) bool, or (K,) int64 positions.

        Returns:
            The selected rows.
        """
        return ScoredRows(**{name: column[chosen] for name, column in self.columns.items()})

    @property
    def columns(self) -> dict[str, Tensor]:
        """The attributes by name."""
        names = ("row_id", "subject", "present", "logits", "label", "label_mask")
        return {name: getattr(self, name) for name in names}
