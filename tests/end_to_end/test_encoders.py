"""Whole runs with encoders that learn: what they leave behind, and what they must not."""

import json
import os
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
import torch

from data_modules.stage import digest
from mmnar_lightning.commands import embed
from mmnar_lightning.config.compose import load
from mmnar_lightning.config.experiment import ExperimentConfig
from mmnar_lightning.runs import build, folders
from tests.conftest import write_custom_cohort
from tests.helpers import forked, tiny_models
from tests.helpers.paths import ROOT

SENTENCE = "severe edema Zyxwvutine was stopped on Michaelmas"
WORDS = (b"Zyxwvutine", b"zyxwvutine", b"Michaelmas", b"michaelmas")


def add_documents(folder: Path, name: str) -> None:
    """Give two thirds of the rows of a custom cohort a text or two that no other modality shows."""
    cohort = pl.read_parquet(folder / "cohort.parquet")
    here = cohort["row_id"] % 3 != 0
    cohort.with_columns(here.alias(f"present/{name}")).write_parquet(folder / "cohort.parquet")
    rows = [row for row in cohort.filter(here)["row_id"] for _ in range(1 + row % 2)]
    texts = [f"{SENTENCE}. {tiny_models.note(place, 20)}" for place in range(len(rows))]
    (folder / "modalities" / name).mkdir()
    pl.DataFrame({"row_id": rows, "text": texts}).write_parquet(folder / "modalities" / name / "documents.parquet")


def words_of(place: Path, *more: str) -> list[str]:
    """A tiny run of three modalities: a table, notes read by a BERT, letters read by a small encoder."""
    given = write_custom_cohort(place / "given", num_subjects=80)
    for name in ("note", "letter"):
        add_documents(given, name)
    model = tiny_models.write_model(place / "bert")
    return [
        "dataset=custom",
        f"paths.cohort={given}",
        "cohort.modalities=[table,note,letter]",
        "embed.text.encoder=transformers",
        "embed.text.mode=trained",
        f"embed.text.model={model}",
        "embed.text.window=16",
        "embed.text.pooling=attention",
        "embed.text.lr_scale=0.1",
        "embed.modalities.letter.encoder=small",
        "trainer.max_epochs=2",
        "trainer.progress_bar=false",
        "trainer.accelerator=cpu",
        "loader.batch_size=64",
        "model.fusion.dim=16",
        "model.fusion.num_heads=2",
        "evaluation.num_replicates=100",
        *more,
    ]


def begun(config: ExperimentConfig) -> dict[str, torch.Tensor]:
    """The weights that a run began with."""
    datamodule = build.build_datamodule(config)
    datamodule.setup()
    return build.build_module(config, datamodule.cohort).state_dict()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder of a run by the command line, in a process of its own, and what it printed."""
    place = tmp_path_factory.mktemp("a_path_of_this_machine")
    command = ["-m", "mmnar_lightning", "train", *words_of(place)]
    unwanted = ("WANDB_API_KEY", folders.RUN_ID_VARIABLE, "MIMIC_ROOT", "EICU_ROOT", "COHORT")
    environment = {key: value for key, value in os.environ.items() if key not in unwanted} | {"PYTHONPATH": str(ROOT)}
    done = forked.finished(command, place, environment)
    assert done.returncode == 0, done.stdout + done.stderr
    (config,) = place.glob("runs/custom/*/config.yaml")
    return config.parent, done.stdout + done.stderr


def test_a_run_trains_both_encoders_and_no_text_reaches_what_it_leaves(
    run: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, printed = run
    scored = json.loads((folder / "results.json").read_text())
    assert scored["modalities"] == ["table", "note", "letter"]
    weights = torch.load(folder / folders.LAST, weights_only=True)["state_dict"]
    monkeypatch.chdir(folder.parents[2])
    drawn = begun(load([f"experiment={folder / folders.CONFIG}"]))
    for part in ("note_encoder.backbone.network.model.encoder.layer.0.", "letter_encoder.backbone.words."):
        learnt = [name for name in weights if part in name]
        assert learnt
        assert not any(torch.equal(weights[name], drawn[name]) for name in learnt)
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert {path.suffix for path in files} >= {".ckpt", ".csv", ".json", ".wandb", ".yaml"}
    for path in files:
        content = path.read_bytes()
        assert not [word for word in WORDS if word in content], path
    assert not [word for word in WORDS if word.decode() in printed]


def test_the_model_folder_names_its_encoders_by_their_digests(run: tuple[Path, str]) -> None:
    folder, _ = run
    described = json.loads((folder / "model" / "model.json").read_text())
    stores = {path.name.split("-")[0]: path for path in folder.parents[2].glob("data/embeddings/*-*")}
    for name in ("note", "letter"):
        identity = json.loads((stores[name] / "manifest.json").read_text())["encoder"]
        assert described["encoders"][name] == digest(identity)


def test_a_model_in_a_local_folder_is_logged_by_its_name_alone(run: tuple[Path, str]) -> None:
    folder, _ = run
    hyperparameters = torch.load(folder / folders.LAST, weights_only=True)["hyper_parameters"]
    assert hyperparameters["embed"]["text"]["model"] == "bert"
    (file,) = folder.rglob("*.wandb")
    assert str(folder.parents[2] / "bert").encode() not in file.read_bytes()


def test_a_tokenizer_before_forked_workers_raises_no_warning(tmp_path: Path) -> None:
    cohort = tiny_models.write_cohort(tmp_path / "c", {row: [tiny_models.note(row, 40)] for row in range(7)}, 8)
    model = tiny_models.write_model(tmp_path / "bert")
    command = [
        sys.executable,
        "-W",
        "error",
        "-m",
        "tests.helpers.embed_forks",
        *map(str, (cohort, model, tmp_path / "d")),
    ]
    environment = {key: value for key, value in os.environ.items() if key != "TOKENIZERS_PARALLELISM"}
    environment["PYTHONPATH"] = str(ROOT)
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith(" tokens\n")
    assert "fork" not in done.stderr.replace(str(tmp_path), "").lower()


def test_settings_of_a_modality_that_is_not_there_or_has_no_encoder_are_refused(workplace: Path) -> None:
    words = words_of(workplace)
    with pytest.raises(ValueError, match=r"embed\.modalities\.leter: the cohort has no such modality; it has table"):
        embed.make_embeddings(load([*words, "embed.modalities.leter.encoder=small"]))
    with pytest.raises(ValueError, match=r"embed\.modalities\.table: it is a table, which has no encoder"):
        embed.make_embeddings(load([*words, "embed.modalities.table.encoder=small"]))
    with pytest.raises(ValueError, match=r"embed\.modalities\.note\.widow: unknown setting"):
        load([*words, "embed.modalities.note.widow=3"])
    with pytest.raises(ValueError, match=r"embed\.modalities\.note: .*window=3 must be at least 8"):
        embed.make_embeddings(load([*words, "embed.modalities.note.window=3"]))


def test_the_embed_command_shows_each_modality_and_does_nothing_twice(
    workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = load(
        words_of(workplace, "embed.text.mode=frozen", "embed.text.lr_scale=null", "embed.modalities.letter.mode=auto")
    )
    first = embed.make_embeddings(config)
    printed = capsys.readouterr().out
    assert "note" in printed
    assert "letter" in printed
    before = {path: path.stat().st_mtime_ns for path in (workplace / "data" / "embeddings").rglob("*.npy")}
    assert embed.make_embeddings(config) == first
    assert {path: path.stat().st_mtime_ns for path in (workplace / "data" / "embeddings").rglob("*.npy")} == before
