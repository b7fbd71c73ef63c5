"""An exported graph predicts as the stored model does, at any batch size and for any pattern."""

import os
from dataclasses import replace
from functools import cache
from pathlib import Path

import onnxruntime
import pytest
import torch
from torch import Tensor

from mmnar_lightning.blueprint import SavedModelError
from mmnar_lightning.cli import main
from mmnar_lightning.config.compose import load as compose
from mmnar_lightning.runs import folders, single
from mmnar_lightning.saved import export as graphs
from mmnar_lightning.saved.description import Description
from mmnar_lightning.saved.model import SavedModel
from mmnar_lightning.saved.read import load
from tests.end_to_end.test_model_folder import SMALL, VERSIONS, given

NETWORKS = ("bins", "late_fusion", "mask_only", "m3care")
__all__ = ["given"]  # a fixture


@pytest.fixture(scope="module", params=NETWORKS)
def run(request: pytest.FixtureRequest, given: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp(request.param)
    os.environ.pop(folders.RUN_ID_VARIABLE, None)
    words = [word for word in SMALL if not word.startswith("model.")]
    paths = (f"paths.cohort={given}", f"paths.data={place / 'data'}", f"paths.runs={place / 'runs'}")
    few = ["trainer.max_epochs=1", "evaluate=false"]
    # The networks of an ensemble are traced one by one: `bins` has two, and each of this one takes long.
    few += ["evaluation.inner_folds=0"] if request.param == "m3care" else []
    return single.train(compose(["dataset=custom", *words, *VERSIONS[request.param], *few, *paths]))


@pytest.fixture(scope="module")
def model(run: Path) -> SavedModel:
    return load(run)


def rows(model: SavedModel, count: int) -> dict[str, Tensor]:
    """Rows of every pattern, some values of which are not measured or far outside."""
    generator = torch.Generator().manual_seed(count)
    inputs = {
        entry.name: 4 * torch.randn(count, entry.width, generator=generator) for entry in model.description.modalities
    }
    inputs["table"][torch.rand(count, 6, generator=generator) < 0.3] = torch.nan
    inputs["table"][::5, 0] = 1e6
    number = torch.arange(count)
    present = torch.stack([number % 2 == 0, number % 4 < 2], dim=1)
    inputs["vectors"][~present[:, 1]] = torch.nan
    return inputs | {"present": present}


def close(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


def with_any_offsets(model: SavedModel) -> SavedModel:
    """The model with other offsets for every task, pattern and number of modalities."""
    torch.manual_seed(0)
    for own in (model.loss_offset, model.rectifier):
        if own is not None:
            own.offset.normal_()
            own.strength.uniform_(0.2, 1)
    return model


def expected(model: SavedModel, inputs: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    values = {name: value for name, value in inputs.items() if name != "present"}
    flags = {f"present/{name}": inputs["present"][:, place] for place, name in enumerate(model.description.names)}
    found = model.predict(values | flags)
    if len(found) > 4:
        assert found.unseen_pattern.any()
        assert len(found.present.unique(dim=0)) == 4
    return found.logit.float(), found.rectified.float()


def test_both_graphs_predict_as_the_model_does(
    model: SavedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(graphs, "trace", cache(graphs.trace))  # both formats are of one graph
    with_any_offsets(model)
    for to in ("torch", "onnx"):
        (tmp_path / to).mkdir()
        graphs.export(model, tmp_path / to, to)
    program = torch.export.load(tmp_path / "torch" / "model.pt2").module()
    session = onnxruntime.InferenceSession(tmp_path / "onnx" / "model.onnx", providers=["CPUExecutionProvider"])
    assert {entry.shape[0] for entry in (*session.get_inputs(), *session.get_outputs())} == {"batch"}
    assert session.get_modelmeta().custom_metadata_map["terms"] == model.description.terms
    for count in (1, 7, 64):
        inputs = rows(model, count)
        logit, rectified = expected(model, inputs)
        own = program(inputs)
        close(own["logit"], logit)
        close(own["rectified"], rectified)
        found = session.run(["logit", "rectified"], {name: value.numpy() for name, value in inputs.items()})
        close(torch.from_numpy(found[0]), logit)
        close(torch.from_numpy(found[1]), rectified)


@pytest.mark.parametrize("run", ["mask_only", "late_fusion"], indirect=True)
def test_the_command_writes_a_graph_once(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["export", "dataset=custom", f"run={run}", f"out={tmp_path / 'here'}"]
    assert main(words) == 0
    assert {path.name for path in (tmp_path / "here").iterdir()} == {"model.pt2", "model.json", "manifest.json"}
    assert Description.load(tmp_path / "here") == load(run).description
    assert "the terms of those records apply" in capsys.readouterr().out
    assert main(words) == 1
    assert "exists; remove it" in " ".join(capsys.readouterr().out.split())


def test_what_cannot_be_exported_is_refused_by_name(
    model: SavedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(description: Description, said: str, to: graphs.Format = "torch") -> None:
        changed = SavedModel(tmp_path, description, model.network, model.statistics, {}, None, None)
        with pytest.raises(SavedModelError, match=said):
            graphs.export(changed, tmp_path, to)
        assert not list(tmp_path.iterdir())

    own = model.description
    trees = own.settings | {"baseline": own.settings["baseline"] | {"name": "boosted_trees"}}
    refused(replace(own, kind="estimator", settings=trees), "boosted_trees is fitted without a network")
    table, vectors = own.modalities
    refused(replace(own, modalities=[table, replace(vectors, kind="documents")]), "vectors is documents with several")
    refused(replace(own, modalities=[table, replace(vectors, name="present")]), "a modality is named present")
    monkeypatch.setattr(graphs, "find_spec", lambda name: None if name == "onnxscript" else True)
    refused(own, r"to=onnx needs onnxscript.*mmnar-lightning\[export\]", "onnx")
