"""What the diagnostics say of the test rows of a trained network."""

import math
from dataclasses import asdict
from typing import Any

import torch
from lightning import Trainer

from data_modules import patterns
from data_modules.datamodule import CohortDataModule
from mmnar_lightning.metrics import diagnostics
from mmnar_lightning.model import MMNARModel
from mmnar_lightning.module import MMNARModule
from mmnar_lightning.predicting import propensities


def diagnose(module: MMNARModule, datamodule: CohortDataModule, trainer: Trainer) -> dict[str, Any]:
    """`diagnostics` of results.json; every rank must call it.

    Args:
        module: as it was tested.
        datamodule: of the test rows.
        trainer: that tested it.

    Returns:
        `unseen_pattern_rows`, test rows with a pattern that no train row has; of a model with an assignment head
        `assignment`: each modality that some train rows have and others lack -> how well its presence is told.
    """
    arrays = datamodule.arrays
    seen, tested = (patterns.encode(arrays.present[datamodule.rows(split)]) for split in ("train", "test"))
    found: dict[str, Any] = {"unseen_pattern_rows": int((~torch.isin(tested, seen)).sum())}
    if isinstance(module.model, MMNARModel) and module.model.assignment is not None:
        found["assignment"] = _assignment(module.model, datamodule, trainer)
    return found


def _assignment(model: MMNARModel, datamodule: CohortDataModule, trainer: Trainer) -> dict[str, Any]:
    device = trainer.strategy.root_device
    loader = datamodule.eval_dataloader("test")
    propensity, present = propensities(model.to(device), loader, device, trainer.precision_plugin.forward_context)
    told = {
        modality.name: asdict(diagnostics.assignment(propensity[:, place], present[:, place]))
        for place, modality in enumerate(datamodule.modalities)
        if bool(model.assignable[place])
    }
    return {name: {key: _number(value) for key, value in entry.items()} for name, entry in told.items()}


def _number(value: float) -> float | None:
    """JSON knows no NaN."""
    return None if math.isnan(value) else value
