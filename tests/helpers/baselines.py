"""Baselines of the registry, built and trained the same way whatever they are."""

from dataclasses import replace
from typing import Any

import numpy as np
import torch

from data_modules import patterns
from data_modules.batch import Batch
from data_modules.vocabulary import Modality
from mmnar_lightning.baselines.config import BaselineConfig, LateFusionConfig
from mmnar_lightning.baselines.inputs import BaselineInputs, prior_logit
from mmnar_lightning.baselines.registry import BASELINES, NetworkBaseline
from mmnar_lightning.baselines.testing import memory_of
from mmnar_lightning.losses.config import ObjectiveConfig
from mmnar_lightning.objective import Objective
from tests.helpers.batches import make_batch, modalities, take

TASKS = ["a", "b", "c"]
COUNT = 3
LABEL_FREE: dict[str, Any] = {"reconstruction": 0.0, "contrast": 0.0, "assignment": 0.0}
LEARNT = [name for name in BASELINES if name != "published_score"]
"""What is fitted; tests/unit/databases/eicu/test_scores.py tests the one that is only read."""
CONFIGS = {name: BaselineConfig(name=name) for name in LEARNT} | {
    "late_fusion_concatenation": BaselineConfig(
        name="late_fusion", late_fusion=LateFusionConfig(version="concatenation")
    )
}


def telling_batch(rows: int, seed: int = 0) -> Batch:
    """Every pattern; task a depends on modality 0, b on modality 1, c on the presence of modality 2."""
    generator = np.random.default_rng(seed)
    present = patterns.decode(torch.from_numpy(generator.integers(2**COUNT, size=rows)), COUNT)
    batch = make_batch(present, seed=seed)
    said = [torch.where(present[:, m], batch.inputs[f"m{m}"][:, 0], 0.0) for m in range(2)]
    logit = torch.stack([3 * said[0], 3 * said[1], 4 * present[:, 2].float() - 2], dim=1) - 0.5
    drawn = torch.rand(rows, len(TASKS), generator=torch.Generator().manual_seed(seed)) < logit.sigmoid()
    return replace(batch, label=drawn.float())


def inputs_of(batch: Batch, given: list[Modality] | None = None, *, memory: bool = False) -> BaselineInputs:
    own = given or modalities(COUNT)
    prior = prior_logit(batch.label, batch.label_mask)
    held = memory_of(batch, own) if memory else None
    return BaselineInputs(modalities=own, tasks=TASKS, prior=prior, memory=held)


def without_dropout(config: BaselineConfig, batch: Batch, seed: int = 0) -> Any:
    """A network whose parameters are far from their starting values and which draws nothing in training."""
    torch.manual_seed(seed)
    baseline = BASELINES[config.name]
    assert isinstance(baseline, NetworkBaseline)
    held = memory_of(telling_batch(200), modalities(COUNT)) if baseline.needs_memory else None
    made: Any = baseline.build(replace(inputs_of(batch), memory=held), config)
    for part in made.modules():
        if isinstance(part, torch.nn.Dropout):
            part.p = 0.0
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return made


def fit_network(model: torch.nn.Module, train: Batch, steps: int, rate: float = 0.01) -> None:
    objective = Objective(TASKS, ObjectiveConfig(**LABEL_FREE))
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    generator = torch.Generator().manual_seed(0)
    for _ in range(steps):
        batch = take(train, torch.randint(len(train), (128,), generator=generator).tolist())
        optimizer.zero_grad()
        objective(objective.terms(model.train()(batch), batch)).backward()
        optimizer.step()
