"""Writes a stored model as a graph that other programs run: for torch alone, or in ONNX."""

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from data_modules.vocabulary import ARRAY_KINDS
from mmnar_lightning.blueprint import SavedModelError
from mmnar_lightning.saved.graph import PRESENT, Exported
from mmnar_lightning.saved.model import SavedModel

Format = Literal["onnx", "torch"]
FILES: Mapping[Format, str] = {"onnx": "model.onnx", "torch": "model.pt2"}
"""Format -> name of its file."""
OUTPUTS = ("logit", "rectified")
BATCH = "batch"
"""Name of the number of rows."""
NUM_ROWS = 4
"""Rows of the example that a graph is traced with."""


def export(model: SavedModel, folder: Path, to: Format) -> Path:
    """Write a model as a graph, with model.json beside it; `refuse` refuses what cannot be exported.

    Args:
        model: a network on the CPU whose modalities are arrays.
        folder: an empty folder.
        to: `torch` writes a program of torch.export, `onnx` an ONNX model.

    Returns:
        The file.
    """
    refuse(model, to)
    path, program = folder / FILES[to], trace(model)
    if to == "torch":
        torch.export.save(program, path)
    else:
        _write_onnx(program, path, model)
    model.description.save(folder)
    return path


def trace(model: SavedModel) -> torch.export.ExportedProgram:
    """Trace the graph of a model; of a batch it takes any number of rows.

    Args:
        model: one that `refuse` does not refuse.

    Returns:
        The program, which has the inputs and outputs of `Exported`.
    """
    inputs = _example(model)
    shapes = {name: {0: torch.export.Dim(BATCH)} for name in inputs}
    return torch.export.export(Exported(model).eval(), (inputs,), dynamic_shapes=(shapes,), strict=False)


def refuse(model: SavedModel, to: Format) -> None:
    """Refuse a model that cannot be exported.

    Args:
        model: to export.
        to: format.

    Raises:
        SavedModelError: with the reason, and what to use instead.
    """
    described = model.description
    if described.kind != "network":
        name = described.settings["baseline"]["name"]
        raise SavedModelError(
            f"baseline.name={name} is fitted without a network, and has no graph; use `mmnar predict`"
        )
    if described.task_kind == "value":
        raise SavedModelError(
            "the tasks of this model are numbers, and graphs have probabilities; use `mmnar predict`, which gives them "
            "in their units"
        )
    for entry in described.modalities:
        if entry.kind not in ARRAY_KINDS:
            raise SavedModelError(
                f"{entry.name} is {entry.kind} with several items per row, which a graph cannot read; use `mmnar "
                "predict`, or train with a frozen encoder, whose vectors are one input"
            )
    if PRESENT in described.names:
        raise SavedModelError(f"a modality is named {PRESENT}, as the input of a graph that holds presence; rename it")
    lacking = [name for name in ("onnx", "onnxscript") if to == "onnx" and find_spec(name) is None]
    if lacking:
        raise SavedModelError(
            f"to=onnx needs {lacking[0]}, which is not installed: pip install 'mmnar-lightning[export]', or use "
            "to=torch"
        )


def _example(model: SavedModel) -> dict[str, Tensor]:
    """Inputs of a graph: modality -> values, and presence."""
    entries = model.description.modalities
    inputs = {entry.name: torch.zeros(NUM_ROWS, entry.width) for entry in entries}
    return inputs | {PRESENT: torch.ones(NUM_ROWS, len(entries), dtype=torch.bool)}


def _write_onnx(program: torch.export.ExportedProgram, path: Path, model: SavedModel) -> None:
    inputs = list(_example(model))
    converted = torch.onnx.export(
        program,
        dynamo=True,
        # Named once: all inputs share this dimension, and a second name of it is a warning.
        dynamic_shapes=({name: {0: BATCH} if name == PRESENT else {} for name in inputs},),
        input_names=inputs,
        output_names=list(OUTPUTS),
        verbose=False,
    )
    assert converted is not None, "of dynamo=True"
    converted.model.metadata_props["terms"] = model.description.terms
    converted.save(path, external_data=False)
