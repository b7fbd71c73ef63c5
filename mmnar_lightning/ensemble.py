"""Networks of the inner folds: one member per fold and repeat, trained together, averaged for all other rows."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from data_modules.batch import Batch
from mmnar_lightning.outputs import ModelOutputs


class FoldEnsemble(nn.Module):
    """Members k of repeat r, each trained on the rows of train and val outside of fold k of that repeat.

    In training, `parts` gives each member its own rows. Otherwise a row of an inner fold gets the mean logit of the
    members that it did not train, one per repeat, and every other row the mean logit of all members.

    Args:
        members: R repeats of K members, repeat by repeat.
        num_folds: K.
    """

    fold: Tensor
    repeat: Tensor

    def __init__(self, members: Sequence[nn.Module], num_folds: int) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)
        number = torch.arange(len(members))
        self.register_buffer("fold", number % num_folds, persistent=False)
        self.register_buffer("repeat", number // num_folds, persistent=False)

    def parts(self, batch: Batch) -> Iterator[tuple[nn.Module, Batch]]:
        """Each member with its rows of a batch, which may be none."""
        held = self._held(batch)
        for number, member in enumerate(self.members):
            yield member, batch.select(~held[:, number])

    def forward(self, batch: Batch) -> ModelOutputs:
        """Predict; the representation is that of all members side by side, (B, K · R · D)."""
        outputs = [member(batch) for member in self.members]
        logits = torch.stack([own.logits for own in outputs], dim=1)
        return ModelOutputs(
            logits=(self.weights(batch).to(logits).unsqueeze(-1) * logits).sum(1),
            representation=torch.cat([own.representation for own in outputs], dim=1),
            encodings=torch.cat([own.encodings for own in outputs], dim=-1),
        )

    def logits(self, batch: Batch) -> Tensor:
        """The logits of `forward`, (B, T) float; a member computes only the rows that it counts in."""
        weights = self.weights(batch)
        parts = []
        for weight, member in zip(weights.T, self.members, strict=True):
            own = member(batch.select(weight > 0)).logits
            whole = own.new_zeros(len(batch), own.shape[1])
            parts.append(whole.masked_scatter((weight > 0)[:, None], weight[weight > 0, None].to(own) * own))
        return torch.stack(parts).sum(0)

    def weights(self, batch: Batch) -> Tensor:
        """(B, K · R) float, the weight of each member in the mean of a row."""
        held = self._held(batch)
        used = held | ~held.any(1, keepdim=True)
        return used / used.sum(1, keepdim=True)

    def _held(self, batch: Batch) -> Tensor:
        """(B, K · R) bool, True = the row was held out from the member."""
        if batch.fold is None:  # another cohort, which no member has seen
            return batch.present.new_zeros((batch.present.shape[0], len(self.members)))
        return batch.fold[:, self.repeat] == self.fold
