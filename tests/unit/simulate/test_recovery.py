"""What a reader of the files finds is what was drawn."""

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from data_modules.simulate import latent
from data_modules.simulate.config import SimulateConfig
from tests.helpers.simulated_scores import TASKS

MODALITIES = ("cxr", "discharge_note", "radiology_report")


def test_rows_are_those_who_left_the_hospital_alive(cohort: pl.DataFrame, survivors: pl.DataFrame) -> None:
    assert cohort["admission_id"].to_list() == survivors["hadm_id"].to_list()
    assert cohort["subject_id"].cast(pl.Int64).to_list() == survivors["subject_id"].to_list()


@pytest.mark.parametrize("task", TASKS)
def test_labels_are_the_drawn_outcomes_id_by_id(task: str, cohort: pl.DataFrame, survivors: pl.DataFrame) -> None:
    assert cohort[f"label/{task}"].to_list() == survivors[f"outcome/{task}"].to_list()


@pytest.mark.parametrize("modality", MODALITIES)
def test_presence_is_the_drawn_one_id_by_id(modality: str, cohort: pl.DataFrame, survivors: pl.DataFrame) -> None:
    assert cohort[f"present/{modality}"].to_list() == survivors[f"present/{modality}"].to_list()
    assert cohort["present/structured"].all()


def test_more_notes_are_there_the_longer_one_waits(cohort_folder: Path, cohort: pl.DataFrame) -> None:
    counts = json.loads((cohort_folder / "manifest.json").read_text())["counts"]["discharge_note stored by"]
    assert all(earlier < later for earlier, later in pairwise(counts[f"{hours} h"] for hours in (0, 24, 72)))
    assert counts["72 h"] == cohort["present/discharge_note"].sum()


def test_a_cohort_says_that_it_was_simulated(cohort_folder: Path) -> None:
    manifest = json.loads((cohort_folder / "manifest.json").read_text())
    assert manifest["simulated"] is True
    assert manifest["dropped"] == []
    assert all(name not in json.dumps(manifest["files"]) for name in ("truth", "worry"))


def test_the_pattern_of_the_truth_is_the_one_of_the_cohort(survivors: pl.DataFrame) -> None:
    bits = sum(survivors[f"present/{name}"].cast(pl.Int64) * 2**bit for bit, name in enumerate(MODALITIES))
    assert survivors["pattern"].to_list() == bits.to_list()


ASKED = {"note_rate": 0.5, "image_rate": 0.6, "report_rate": 0.1}
OTHER_OUTCOMES = replace(latent.MIMIC, outcome_rates=(0.4, 0.12, 0.05))


@pytest.mark.parametrize(
    ("knobs", "setting"),
    [
        ({"rho": 0.0}, latent.MIMIC),
        ({"rho": 1.0}, latent.MIMIC),
        ({"rho": 2.0}, latent.MIMIC),
        ({"gamma": 2.0, "tau": 1.5, "calendar": 1.0}, latent.MIMIC),
        (ASKED, OTHER_OUTCOMES),
    ],
)
def test_rates_are_the_asked_ones_whatever_the_knobs(knobs: dict[str, Any], setting: latent.Setting) -> None:
    config = SimulateConfig(**knobs)
    patients = latent.draw(latent.solve(config, setting), 50_000, np.random.default_rng(11))
    reach = ~patients.excluded
    found = np.concatenate([patients.present[reach].mean(0), patients.outcome[reach].mean(0)])
    asked = np.array([*(latent.value_of(config, rate) for rate in setting.order_rates), *setting.outcome_rates])
    error = np.sqrt(asked * (1 - asked) * (1 / reach.sum() + 1 / latent.SOLVE_DRAWS))
    assert np.abs((found - asked) / error).max() < 3


def test_pattern_effects_have_mean_zero_and_the_asked_spread() -> None:
    effect = latent.solve(SimulateConfig(tau=0.7)).pattern_effect
    assert effect.shape == (len(TASKS), 8)
    assert np.allclose(effect.mean(1), 0)
    assert np.allclose(effect.std(1), 0.7)


def test_the_truth_repeats_the_model(truth: pl.DataFrame, simulated: SimulateConfig) -> None:
    world = latent.solve(simulated)
    health = truth.select(f"health/{name}" for name in latent.HEALTH).to_numpy()
    exact = 1 / (1 + np.exp(-world.outcome_logit(health, truth["worry"].to_numpy(), truth["pattern"].to_numpy())))
    written = truth.select(f"probability/{task}" for task in TASKS).to_numpy()
    assert np.allclose(exact, written)
    gap = (truth.select(f"outcome/{task}" for task in TASKS).to_numpy() - written).sum(0)
    assert (np.abs(gap) / np.sqrt((written * (1 - written)).sum(0))).max() < 3
    chance = truth.select(f"propensity/{name}" for name in MODALITIES).to_numpy()
    gap = (truth.select(f"present/{name}" for name in MODALITIES).to_numpy() - chance).sum(0)
    assert (np.abs(gap) / np.sqrt((chance * (1 - chance)).sum(0))).max() < 3
