"""Late fusion: each modality is encoded separately, and the results are combined at the end."""

import torch
from torch import Tensor, nn

from data_modules.batch import Batch
from mmnar_lightning.baselines.config import LateFusionConfig
from mmnar_lightning.baselines.inputs import BaselineInputs, prior_head
from mmnar_lightning.nn.encoders import Encoders
from mmnar_lightning.outputs import ModelOutputs, SideHeads

DIM = 128
"""Width of a modality's encoding, as of the model's."""


class WeightedLateFusion(nn.Module):
    """Σ_m present_m w_m l_m / Σ_m present_m w_m, with w a softmax of learned scalars and l_m a linear head on e_m.

    Each head has a loss of its own, over the rows that have its modality. A row without any modality gets a learned
    constant. It starts at the logit of the training prior and is trained on all rows, so that it stays there.

    Args:
        inputs: modalities, prior.
        config: sizes.
    """

    def __init__(self, inputs: BaselineInputs, config: LateFusionConfig) -> None:
        super().__init__()
        count = len(inputs.modalities)
        self.encoders = Encoders(inputs.modalities, DIM, config.dropout, inputs.maps, inputs.items)
        self.heads = nn.ModuleList(prior_head(DIM, inputs.prior) for _ in range(count))
        self.score = nn.Parameter(torch.zeros(count))
        self.empty = nn.Parameter(inputs.prior.clone())

    def forward(self, batch: Batch) -> ModelOutputs:
        """Predict a batch."""
        encodings = self.encoders(batch)
        logits = torch.stack([head(encodings[:, m]) for m, head in enumerate(self.heads)], dim=1)
        weight = self._weight(batch.present)
        some = batch.present.any(1, keepdim=True)
        alone = torch.cat([logits, self.empty.expand(logits.shape[0], 1, -1)], dim=1)
        return ModelOutputs(
            logits=torch.where(some, (weight * logits).sum(1), self.empty),
            representation=(weight * encodings).sum(1),
            encodings=encodings,
            side=SideHeads(logits=alone, shown=torch.cat([batch.present, torch.ones_like(some)], dim=1)),
        )

    def _weight(self, present: Tensor) -> Tensor:
        """(B, M, 1) float, a softmax over the present modalities; over all of them in a row without any."""
        hidden = ~present & present.any(1, keepdim=True)
        return self.score.expand(present.shape).masked_fill(hidden, -torch.inf).softmax(1).unsqueeze(-1)


class ConcatenationLateFusion(nn.Module):
    """MLP([present_1 e_1, ..., present_M e_M, present]): a hidden layer over all encodings at once.

    Args:
        inputs: modalities, prior.
        config: sizes.
    """

    def __init__(self, inputs: BaselineInputs, config: LateFusionConfig) -> None:
        super().__init__()
        width = len(inputs.modalities) * (DIM + 1)
        self.encoders = Encoders(inputs.modalities, DIM, config.dropout, inputs.maps, inputs.items)
        self.hidden = nn.Sequential(nn.Linear(width, DIM), nn.GELU(), nn.Dropout(config.dropout))
        self.head = prior_head(DIM, inputs.prior)

    def forward(self, batch: Batch) -> ModelOutputs:
        """Predict a batch."""
        encodings = self.encoders(batch)
        hidden = self.hidden(torch.cat([encodings.flatten(1), batch.present.to(encodings)], dim=1))
        return ModelOutputs(logits=self.head(hidden), representation=hidden, encodings=encodings)


VERSIONS: dict[str, type[nn.Module]] = {"weighted": WeightedLateFusion, "concatenation": ConcatenationLateFusion}


def late_fusion(inputs: BaselineInputs, config: LateFusionConfig) -> nn.Module:
    """Build the version that the settings name."""
    return VERSIONS[config.version](inputs, config)
