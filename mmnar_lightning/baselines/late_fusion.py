"""Late fusion: every modality is encoded on its own, and what they say is put together at the end."""

import torch
from torch import Tensor, nn

from data_modules.batch import Batch
from mmnar_lightning.baselines.config import LateFusionConfig
from mmnar_lightning.baselines.inputs import Problem, prior_head
from mmnar_lightning.nn.encoders import Encoders
from mmnar_lightning.outputs import ModelOutputs, SideHeads


class WeightedLateFusion(nn.Module):
    """Σ_m present_m w_m l_m / Σ_m present_m w_m, with w a softmax of learnt scalars and l_m a linear head on e_m.

    Every head also learns on its own from the rows that have its modality. A row with nothing present gets a learnt
    constant, which starts at the logit of the training prior and learns from all rows, so that it stays there.

    Args:
        problem: modalities, prior.
        config: sizes.
    """

    def __init__(self, problem: Problem, config: LateFusionConfig) -> None:
        super().__init__()
        count = len(problem.modalities)
        self.encoders = Encoders(problem.modalities, config.dim, config.dropout, problem.axes, problem.items)
        self.heads = nn.ModuleList(prior_head(config.dim, problem.prior) for _ in range(count))
        self.score = nn.Parameter(torch.zeros(count))
        self.empty = nn.Parameter(problem.prior.clone())

    def forward(self, batch: Batch) -> ModelOutputs:
        """Predict a batch."""
        encodings = self.encoders(batch)
        logits = torch.stack([head(encodings[:, m]) for m, head in enumerate(self.heads)], dim=1)
        weight = self._weight(batch.present)
        some = batch.present.any(1, keepdim=True)
        alone = torch.cat([logits, self.empty.expand(len(batch), 1, -1)], dim=1)
        return ModelOutputs(
            logits=torch.where(some, (weight * logits).sum(1), self.empty),
            representation=(weight * encodings).sum(1),
            encodings=encodings,
            side=SideHeads(logits=alone, shown=torch.cat([batch.present, torch.ones_like(some)], dim=1)),
        )

    def _weight(self, present: Tensor) -> Tensor:
        """(B, M, 1) float, a softmax over the present modalities; over all in a row that has none."""
        hidden = ~present & present.any(1, keepdim=True)
        return self.score.expand(present.shape).masked_fill(hidden, -torch.inf).softmax(1).unsqueeze(-1)


class ConcatenationLateFusion(nn.Module):
    """MLP([present_1 e_1, ..., present_M e_M, present]): a hidden layer over all encodings at once.

    Args:
        problem: modalities, prior.
        config: sizes.
    """

    def __init__(self, problem: Problem, config: LateFusionConfig) -> None:
        super().__init__()
        width = len(problem.modalities) * (config.dim + 1)
        self.encoders = Encoders(problem.modalities, config.dim, config.dropout, problem.axes, problem.items)
        self.hidden = nn.Sequential(nn.Linear(width, config.dim), nn.GELU(), nn.Dropout(config.dropout))
        self.head = prior_head(config.dim, problem.prior)

    def forward(self, batch: Batch) -> ModelOutputs:
        """Predict a batch."""
        encodings = self.encoders(batch)
        hidden = self.hidden(torch.cat([encodings.flatten(1), batch.present.to(encodings)], dim=1))
        return ModelOutputs(logits=self.head(hidden), representation=hidden, encodings=encodings)


VERSIONS: dict[str, type[nn.Module]] = {"weighted": WeightedLateFusion, "concatenation": ConcatenationLateFusion}


def late_fusion(problem: Problem, config: LateFusionConfig) -> nn.Module:
    """The version that is asked for."""
    return VERSIONS[config.version](problem, config)
