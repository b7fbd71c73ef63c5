"""No model that reads the files beats the oracle, and every model does far better than chance."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from sklearn.decomposition import TruncatedSVD
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from data_modules.databases.mimic_iv.tables import EMBEDDINGS
from data_modules.features import store
from mmnar_lightning.encoders.config import EmbedConfig
from mmnar_lightning.encoders.image.config import ImageConfig
from mmnar_lightning.encoders.image.stage import ImageFolders
from mmnar_lightning.encoders.stage import embed
from mmnar_lightning.encoders.text.config import TextConfig
from tests.helpers.simulated_scores import TASKS, Floats, auroc, auroc_error, mean_difference

MODELS = ("logistic regression", "gradient boosting")
WIDTH = 30
"""Components of a modality's vectors that the models read."""


@pytest.fixture(scope="module")
def inputs(cohort_folder: Path, folder: Path, cohort: pl.DataFrame, tmp_path_factory) -> Floats:
    """Everything that a row of the cohort offers: measurements, components of texts and images, presence."""
    config = EmbedConfig(text=TextConfig(encoder="hashed_ngrams"), image=ImageConfig(encoder="release"))
    stores = embed(
        cohort_folder, config, tmp_path_factory.mktemp("embedded"), ImageFolders(embeddings=folder / EMBEDDINGS / "1.0")
    )
    rows, train = cohort["row_id"].to_numpy(), (cohort["split"] == "train").to_numpy()
    table = store.open_values(cohort_folder / "modalities" / "structured")[rows]
    measured = table[:, np.isfinite(table[train]).any(0)]
    parts = [measured[:, np.nanmax(measured[train], 0) > np.nanmin(measured[train], 0)]]
    assert set(stores) == {"cxr", "discharge_note", "radiology_report"}
    for name, place in stores.items():
        vectors, present = store.open_values(place)[rows], cohort[f"present/{name}"].to_numpy()
        centred = vectors - vectors[train & present].mean(0) * present[:, None]
        parts.append(TruncatedSVD(WIDTH, random_state=0).fit(centred[train & present]).transform(centred))
        parts.append(present[:, None])
    return np.column_stack(parts)


@pytest.fixture(scope="module")
def scores(inputs: Floats, cohort: pl.DataFrame) -> dict[str, list[Floats]]:
    """Model -> for every task its scores of the rows outside train."""
    train = (cohort["split"] == "train").to_numpy()
    made = {
        MODELS[0]: make_pipeline(SimpleImputer(), StandardScaler(), LogisticRegression(C=0.003, max_iter=2000)),
        MODELS[1]: HistGradientBoostingClassifier(
            max_iter=40, learning_rate=0.1, max_leaf_nodes=4, max_features=0.1, l2_regularization=5, random_state=0
        ),
    }
    labels = cohort.select(f"label/{task}" for task in TASKS).to_numpy()
    return {
        name: [model.fit(inputs[train], label[train]).predict_proba(inputs[~train])[:, 1] for label in labels.T]
        for name, model in made.items()
    }


@pytest.fixture(scope="module")
def held_out(cohort: pl.DataFrame, survivors: pl.DataFrame) -> pl.DataFrame:
    return cohort.join(survivors, left_on="admission_id", right_on="hadm_id", maintain_order="left").filter(
        pl.col("split") != "train"
    )


@pytest.mark.parametrize("model", MODELS)
def test_no_model_beats_the_oracle(model: str, scores, held_out: pl.DataFrame) -> None:
    labels = [held_out[f"label/{task}"] for task in TASKS]
    best = [held_out[f"oracle_all/{task}"] for task in TASKS]
    for label, own, oracle in zip(labels, scores[model], best, strict=True):
        gap, error = mean_difference([label], [own], [oracle])
        assert gap < 2 * error
    gap, error = mean_difference(labels, scores[model], best)
    assert gap < 2 * error / np.sqrt(len(TASKS))


@pytest.mark.parametrize("model", MODELS)
def test_every_model_is_far_better_than_chance(model: str, scores, held_out: pl.DataFrame) -> None:
    for task, own in zip(TASKS, scores[model], strict=True):
        label = held_out[f"label/{task}"]
        assert auroc(label, own) - 0.5 > 4 * auroc_error(label, own), task
    mean = np.mean([auroc(held_out[f"label/{task}"], own) for task, own in zip(TASKS, scores[model], strict=True)])
    best = np.mean([auroc(held_out[f"label/{task}"], held_out[f"oracle_all/{task}"]) for task in TASKS])
    assert mean > 0.5 + 0.5 * (best - 0.5)


@pytest.mark.parametrize("task", TASKS)
def test_nothing_in_the_files_shows_what_the_oracle_does_not_know(
    task: str, inputs: Floats, cohort: pl.DataFrame, survivors: pl.DataFrame
) -> None:
    """What an outcome has beyond the oracle's probability is noise to every input: a leak would show here first."""
    surprise = (cohort[f"label/{task}"].cast(pl.Float64) - survivors[f"oracle_all/{task}"]).to_numpy()
    centred = np.nan_to_num(inputs - np.nanmean(inputs, 0))
    common = centred[:, (np.abs(centred) > 0.01 * np.abs(centred).max(0)).sum(0) > 50]
    score = surprise @ common / np.sqrt(np.square(surprise) @ np.square(common))
    assert common.shape[1] > 300
    assert np.abs(score).max() < 4.2
    assert np.square(score).mean() < 1.6


def test_the_truth_is_no_input(cohort_folder: Path) -> None:
    manifest = json.loads((cohort_folder / "manifest.json").read_text())
    reported = {name for name in manifest["files"] if "truth" in name}
    columns = store.read_columns(cohort_folder / "modalities" / "structured")
    assert not reported
    assert not any(word in name for name in columns for word in ("worry", "health", "oracle", "propensity"))
