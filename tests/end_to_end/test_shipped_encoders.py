"""Shipped experiments with texts or images that need no network train by their names, on one tiny simulated release."""

import json
import socket
from pathlib import Path

import pytest
import torch

from mmnar_lightning.cli import main
from mmnar_lightning.config.compose import load
from mmnar_lightning.runs import build, folders

WORDS = [
    "simulate.subjects=160",
    "trainer.max_epochs=1",
    "trainer.progress_bar=false",
    "trainer.accelerator=cpu",
    "evaluation.num_replicates=100",
    "model.fusion.dim=16",
    "model.fusion.num_heads=2",
    "cohort.min_vocabulary_subjects=40",
]
TIMM = [
    "embed.image.model=test_vit",
    "embed.image.weights=none",
    "embed.image.trainable=all",
    "embed.image.gradient_checkpointing=false",
    "embed.image.bf16=false",
    "embed.image.num_workers=1",
]
"""Lays a tiny network of random weights over images_timm: its own, a large one, is fetched."""
LOCAL = ("127.0.0.1", "::1", "localhost", None)
BACKBONES = {
    "texts_frozen": None,
    "texts_trained": "discharge_note_encoder.backbone.words.weight",
    "images_frozen": None,
    "images_trained": "cxr_encoder.backbone.network.0.0.weight",
    "images_timm": "cxr_encoder.backbone.network.blocks.0.attn.qkv.weight",
}
"""Experiment -> a weight that learns from its documents or images; None where they are vectors already."""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the release lies, which the first run draws."""
    return tmp_path_factory.mktemp("shared") / "data"


def train(data: Path, *words: str) -> Path:
    """Train by the command line in this process; the folder of the run."""
    folders.forget_run()
    assert main(["train", *words, *WORDS, f"paths.data={data}"]) == 0
    folders.forget_run()
    (run,) = Path("runs").glob("*/*/")
    return run


def drawn(run: Path) -> dict[str, torch.Tensor]:
    """The weights that a run began with."""
    config = load([f"experiment={run / folders.CONFIG}"])
    datamodule = build.build_datamodule(config)
    datamodule.setup()
    return build.build_module(config, datamodule.cohort).state_dict()


@pytest.mark.parametrize("experiment", BACKBONES)
def test_a_shipped_experiment_trains_by_its_name(experiment: str, data: Path, workplace: Path) -> None:
    more = TIMM if experiment == "images_timm" else []
    run = train(data, f"experiment={experiment}", "wandb.enabled=false", *more)
    wanted = ["cxr"] if experiment.startswith("images") else ["discharge_note", "radiology_report"]
    results = json.loads((run / folders.RESULTS).read_text())
    assert (results["modalities"], results["dropped"]) == (["structured", *wanted], [])
    weights = torch.load(run / folders.LAST, weights_only=True)["state_dict"]
    learnt = [name for name in weights if "backbone" in name]
    if BACKBONES[experiment] is None:
        assert not learnt
    else:
        (name,) = (name for name in learnt if name.endswith(str(BACKBONES[experiment])))
        assert not torch.equal(weights[name], drawn(run)[name])
    assert len(list((data / "releases").glob("simulated-*/"))) == 1, "all read one release"


def test_the_default_run_asks_no_network(data: Path, workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []

    def watch(name: str) -> None:
        real = getattr(socket.socket, name)

        def connect(self: socket.socket, address: object) -> object:
            local = self.family == socket.AF_UNIX or (isinstance(address, tuple) and address[0] in LOCAL)
            if not local:
                asked.append(address)
                raise OSError("there is no network here")
            return real(self, address)

        monkeypatch.setattr(socket.socket, name, connect)

    for name in ("connect", "connect_ex"):
        watch(name)
    find = socket.getaddrinfo

    def look_up(host: object, *rest: object, **named: object) -> object:
        if host not in LOCAL:
            asked.append(host)
            raise OSError("there is no network here")
        return find(host, *rest, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    run = train(data)
    assert json.loads((run / folders.RESULTS).read_text())["simulated"] is True
    assert asked == []
