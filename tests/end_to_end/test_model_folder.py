"""The model folder: it predicts as the run did, after cohort and training data are gone, and names no subject."""

import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from data_modules import stage
from data_modules.cohorts.config import CustomCohortConfig
from data_modules.datamodule import CustomDataModule
from data_modules.loading.config import LoaderConfig
from data_modules.loading.opened import OpenedCohort
from mmnar_lightning.blueprint import SavedModelError
from mmnar_lightning.config.compose import load as compose
from mmnar_lightning.runs import folders, single
from mmnar_lightning.saved.model import SavedModel
from mmnar_lightning.saved.read import load
from tests.conftest import write_custom_cohort
from tests.helpers.small_runs import SMALL

TASKS = ("first", "second")
NETWORK = (
    "model.fusion.dim=16",
    "model.fusion.num_heads=2",
    "rectifier.start_epoch=1",
    "rectifier.min_rows=8",
    "rectifier.gate=false",
)
VERSIONS = {
    "plain": (*NETWORK, "model.encoder.components=4"),
    "bins": (
        *NETWORK,
        "model.encoder.bins=4",
        "model.encoder.components=4",
        "model.additive.inverse_penalties=[0.1,1.0]",
        "model.additive.slopes=pattern",
        "model.additive.canonical=2",
        "evaluation.inner_folds=2",
        "objective.assignment=0",
    ),
    "late_fusion": ("experiment=custom,baselines/late_fusion",),
    "logistic_regression": (
        "experiment=custom,baselines/logistic_regression",
        "model.encoder.bins=4",
        "model.additive.slopes=pattern",
        "model.additive.canonical=2",
        "evaluation.inner_folds=2",
    ),
    "pattern_submodels": ("experiment=custom,baselines/pattern_submodels", "model.encoder.components=3"),
    "modality_stack": ("experiment=custom,baselines/modality_stack",),
    "boosted_trees": ("experiment=custom,baselines/boosted_trees",),
    "mask_only": ("experiment=custom,baselines/mask_only",),
    "m3care": ("experiment=custom,baselines/m3care", "evaluation.inner_folds=2"),
}


def opened(given: Path, data: Path) -> OpenedCohort:
    datamodule = CustomDataModule(source=given, config=CustomCohortConfig(), data=data, loader=LoaderConfig())
    datamodule.prepare_data()
    datamodule.setup()
    return datamodule.cohort


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cohort, one of whose columns few subjects have."""
    folder = write_custom_cohort(tmp_path_factory.mktemp("model") / "given", num_subjects=200)
    path = folder / "modalities" / "table" / "table.parquet"
    table = pl.read_parquet(path)
    few = pl.when(pl.col("row_id") < 6).then(pl.lit(123.456)).otherwise(None)
    table.with_columns(seldom=few).write_parquet(path)
    return folder


@pytest.fixture(scope="module", params=VERSIONS)
def run(request: pytest.FixtureRequest, given: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp(request.param)
    paths = (f"paths.data={place / 'data'}", f"paths.runs={place / 'runs'}")
    words = [word for word in SMALL if not word.startswith("model.")]
    os.environ.pop(folders.RUN_ID_VARIABLE, None)
    if not request.param.startswith(("logistic", "pattern", "boosted", "modality")):
        words = [*words, "trainer.max_epochs=2"]
    else:
        words = [word for word in words if not word.startswith("loader.")]
    own = (f"paths.cohort={given}", *words, *VERSIONS[request.param], *paths)
    folder = single.train(compose(["dataset=custom", *own]))
    shutil.rmtree(place / "data")
    return folder


@pytest.fixture(scope="module")
def model(run: Path) -> SavedModel:
    return load(run)


@pytest.fixture(scope="module")
def cohort(given: Path, tmp_path_factory: pytest.TempPathFactory) -> OpenedCohort:
    return opened(given, tmp_path_factory.mktemp("again"))


def test_it_predicts_bit_by_bit_what_the_run_predicted(run: Path, model: SavedModel, cohort: OpenedCohort) -> None:
    expected = pl.read_parquet(run / "predictions.parquet")
    found = model.predict(cohort, batch_size=LoaderConfig().eval_batch_size, split="test")
    assert found.row_id.tolist() == expected["row_id"].to_list()
    for place, task in enumerate(TASKS):
        seldom = expected["row_id"].to_numpy() < 6  # their rare value is read as not measured
        assert (found.logit[:, place].numpy() == expected[f"logit/{task}"].to_numpy())[~seldom].all()
        after = expected[f"rectified/{task}" if model.rectifier else f"logit/{task}"].to_numpy()
        assert (found.rectified_logit[:, place].numpy() == after)[~seldom].all()
    parts = model.predict(cohort, batch_size=7, split="test")
    torch.testing.assert_close(parts.logit, found.logit, rtol=0, atol=1e-6)


def test_a_folder_of_rows_gives_what_the_opened_cohort_gives(
    model: SavedModel, cohort: OpenedCohort, given: Path, tmp_path: Path
) -> None:
    expected = model.predict(cohort)
    unlabelled = tmp_path / "rows"
    shutil.copytree(given, unlabelled)
    rows = pl.read_parquet(given / "cohort.parquet")
    rows.select(name for name in rows.columns if not name.startswith("label/")).write_parquet(
        unlabelled / "cohort.parquet"
    )
    for folder in (given, str(unlabelled)):
        found = model.predict(folder)
        assert found.row_id.equal(expected.row_id)
        assert found.logit.equal(expected.logit)
    assert len(model.predict(given, split="test")) == len(model.predict(cohort, split="test"))
    with pytest.raises(SavedModelError, match=r"has no cohort\.parquet; give a folder"):
        model.predict(tmp_path)


def test_frames_and_tensors_give_what_the_cohort_gives(model: SavedModel, cohort: OpenedCohort, given: Path) -> None:
    expected = model.predict(cohort)
    table = pl.read_parquet(given / "modalities" / "table" / "table.parquet").sort("row_id").drop("row_id")
    vectors = np.load(given / "modalities" / "vectors" / "vectors.npy")
    present = pl.read_parquet(given / "cohort.parquet").sort("row_id")["present/vectors"]
    frame = table.rename(lambda name: f"table/{name}").with_columns(
        pl.Series("vectors", vectors.tolist(), dtype=pl.List(pl.Float32)), present
    )
    assert sorted(model.columns) == sorted({*frame.columns} - {"present/vectors"})
    tensors = {"table": torch.from_numpy(table.cast(pl.Float32).fill_null(np.nan).to_numpy(writable=True))}
    tensors["vectors"] = torch.from_numpy(vectors)
    for rows in (frame, frame.drop("present/vectors"), tensors):
        found = model.predict(rows)
        assert found.present.equal(expected.present)
        assert found.logit.equal(expected.logit)
        assert found.representation.equal(expected.representation)


def test_a_modality_that_is_left_out_is_absent(model: SavedModel, cohort: OpenedCohort) -> None:
    table = torch.randn(3, 6)
    found = model.predict({"table": table})
    assert found.present.tolist() == [[True, False]] * 3
    nothing = model.predict({"table": table, "present/table": torch.zeros(3, dtype=torch.bool)})
    assert not nothing.present.any()
    assert nothing.logit[0].equal(nothing.logit[2])
    assert nothing.logit.isfinite().all()


def test_values_out_of_range_and_unseen_patterns_are_flagged(model: SavedModel) -> None:
    table = torch.zeros(3, 6)
    table[:, 5] = torch.nan
    table[1, 0], table[1, 1], table[2, 5] = 99.0, -99.0, 500.0
    found = model.predict({"table": table, "present/table": torch.tensor([True, True, True])})
    assert found.out_of_range.tolist() == [0, 2, 0], "too few subjects have the last column for a range"
    alone = model.predict({"vectors": torch.zeros(1, 8)})
    assert alone.unseen_pattern.tolist() == [True]
    assert found.unseen_pattern.tolist() == [False] * 3


def test_nothing_of_the_subjects_is_in_it(run: Path, given: Path) -> None:
    names = {path.name for path in (run / "model").iterdir()}
    assert names == {"README.md", "manifest.json", "model.json", "results.public.json", "weights.safetensors"}
    public = json.loads((run / "model" / "results.public.json").read_text())
    assert public == json.loads((run / "results.public.json").read_text())
    assert public["diagnostics"]["decision_tipping_point"]
    content = (run / "model" / "model.json").read_text()
    subjects = pl.read_parquet(given / "cohort.parquet")["subject_id"].unique().to_list()
    assert not [subject for subject in subjects if subject in content]
    raw = (run / "model" / "weights.safetensors").read_bytes()
    assert not re.search(b"subject|fingerprint", raw[:20_000])
    seldom = np.float32(123.456).tobytes()
    assert seldom not in raw, "the mean of a value that three subjects share"
    table = pl.read_parquet(given / "modalities" / "table" / "table.parquet")
    values = table.select("c0", "c1", "c2").to_numpy().astype(np.float32)
    ends = [edge.tobytes() for edge in (*values.min(0), *values.max(0))]
    assert not [edge for edge in ends if edge in raw], "the extreme value of one row"


def test_its_card_says_what_for_whom_and_how_well_without_a_subject(run: Path, model: SavedModel, given: Path) -> None:
    text = (run / "model" / "README.md").read_text()
    sections = dict(part.split("\n\n", 1) for part in text.split("\n## ")[1:])
    assert all(f"(`{task}`)" in sections["What it predicts"] for task in model.tasks)
    assert sections["Terms of use"].strip() == model.description.terms
    assert all(f"`{name}`" in sections["Inputs"] for name in model.description.names)
    public = json.loads((run / "results.public.json").read_text())
    scored = public.get("rectified") or public["tasks"]
    for task in model.tasks:
        cell = scored[task]["all"]
        (line,) = [line for line in sections["How well"].splitlines() if line.startswith(f"| {task} | all |")]
        assert f"| {cell['count']} ({cell['positives']}) | {cell['auroc']['value']:.2f} (" in line
    subjects = pl.read_parquet(given / "cohort.parquet")["subject_id"].unique().to_list()
    assert not [subject for subject in subjects if subject in text]
    stage.verify(run / "model", "")
    code = (
        sections["Load and predict"]
        .split("```")[1]
        .removeprefix("python\n")
        .replace('load(".")', f"load({str(run)!r})")
    )
    scope: dict[str, Any] = {"frame": {"vectors": torch.zeros(1, 8)}}
    exec(code, scope)  # what the card says works
    assert len(scope["found"]) == 1


def test_a_folder_that_was_removed_is_written_again(run: Path, model: SavedModel, cohort: OpenedCohort) -> None:
    before, card = ((run / "model" / name).read_bytes() for name in ("model.json", "README.md"))
    shutil.rmtree(run / "model")
    single.evaluate(compose(["dataset=custom", f"run={run}"]))
    assert (run / "model" / "model.json").read_bytes() == before
    assert (run / "model" / "README.md").read_bytes() == card
    assert load(run).predict(cohort).rectified_logit.equal(model.predict(cohort).rectified_logit)


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ({"labs": torch.zeros(2, 6)}, "'labs' is no input of the model; it reads table, vectors"),
        (
            {"table": torch.zeros(2, 5)},
            r"table has torch.float32 of shape \(2, 5\); expected numbers of shape \(2, 6\)",
        ),
        ({"table": torch.zeros(2, 6), "vectors": torch.zeros(3, 8)}, "the same number of rows"),
        ({"table": torch.full((2, 6), torch.inf)}, "table: 2 rows have infinite values"),
        (pl.DataFrame({"table/c0": [1.0]}), "has 1 of 6 columns of table, and lacks table/c1"),
        (pl.DataFrame({"age": [1.0]}), "'age' is no input of the model"),
        ({}, "same number of rows"),
    ],
)
def test_rows_that_it_cannot_read_are_refused_by_name(model: SavedModel, rows, said: str) -> None:
    with pytest.raises(SavedModelError, match=said):
        model.predict(rows)


def test_a_damaged_or_foreign_folder_is_refused(run: Path, tmp_path: Path) -> None:
    def changed(**content: object) -> Path:
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        shutil.copytree(run / "model", folder)
        plain = json.loads((folder / "model.json").read_text())
        (folder / "model.json").write_text(json.dumps(plain | content))
        stage.seal(folder)
        return folder

    plain = json.loads((run / "model" / "model.json").read_text())
    foreign = plain["settings"] | {"baseline": {**plain["settings"]["baseline"], "name": "os:system"}}
    reading = plain["settings"] | {"baseline": {"name": "none", "settings": {"place": "${oc.env:HOME}"}}}
    for folder, said in (
        (tmp_path, "is no model folder"),
        (changed(schema_version=99), "schema_version=99"),
        (changed(settings=foreign), "does not import code of other packages"),
        (changed(settings=reading), r"\$\{...\}, which is not resolved there"),
        (changed(tasks=["first"]), "does not fit model.json"),
        (changed(tasks=7), "damaged|fit"),
    ):
        with pytest.raises(SavedModelError, match=said):
            load(folder)
    halved = changed()
    weights = (halved / "weights.safetensors").read_bytes()
    (halved / "weights.safetensors").write_bytes(weights[: len(weights) // 2])
    with pytest.raises(stage.DamageError, match=r"weights\.safetensors"):
        load(halved)
    (halved / "weights.safetensors").write_bytes(weights[:-1] + bytes([weights[-1] ^ 1]))
    with pytest.raises(stage.DamageError, match=r"weights\.safetensors"):
        load(halved)
