"""The knobs do what they say, and the oracle is the best that a reader can do."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy.special import expit, logit
from scipy.stats import chi2
from sklearn.linear_model import LogisticRegression

from data_modules.simulate import latent, truth
from data_modules.simulate.config import SimulateConfig
from tests.helpers.simulated_scores import TASKS, Floats, auroc, auroc_error, mean_difference

NOTHING: dict[str, Any] = {"rho": 0.0, "gamma": 0.0, "tau": 0.0, "calendar": 0.0}


def presence_alone(config: SimulateConfig, count: int = 40_000) -> tuple[Floats, Floats]:
    """AUROC of the pattern for every task, and its standard error; rates are fitted on one half of the people."""
    patients = latent.draw(latent.solve(config), count, np.random.default_rng(5))
    fit, score = np.arange(count) < count // 2, np.arange(count) >= count // 2
    found = []
    for task in range(len(TASKS)):
        outcome = patients.outcome[:, task]
        seen = np.bincount(patients.pattern[fit], minlength=8)
        rate = np.bincount(patients.pattern[fit], outcome[fit], 8) / np.maximum(seen, 1)
        best = rate[patients.pattern[score]]
        found.append((auroc(outcome[score], best), auroc_error(outcome[score], best)))
    return np.array(found).T[0], np.array(found).T[1]


def test_presence_alone_shows_nothing_when_every_knob_is_zero() -> None:
    area, error = presence_alone(SimulateConfig(**NOTHING))
    assert np.abs((area - 0.5) / error).max() < 2.5


def test_presence_alone_shows_more_the_larger_rho() -> None:
    areas, errors = zip(*(presence_alone(SimulateConfig(**{**NOTHING, "rho": rho})) for rho in (0, 1, 2)), strict=True)
    for task in range(len(TASKS)):
        for low, high in ((0, 1), (1, 2)):
            gap = areas[high][task] - areas[low][task]
            assert gap > 3 * np.hypot(errors[high][task], errors[low][task]), (TASKS[task], low)


@pytest.mark.parametrize("knob", ["gamma", "tau"])
def test_presence_also_shows_through_readings_and_through_the_effect_of_patterns(knob: str) -> None:
    area, error = presence_alone(SimulateConfig(**{**NOTHING, knob: 1.0}))
    assert ((area - 0.5) / error).min() > 3


def test_at_rho_zero_presence_shows_nothing_beyond_what_is_seen() -> None:
    """Missing at random: given the structured readings, health and worry do not move presence."""
    world = latent.solve(SimulateConfig(**{**NOTHING, "gamma": 1.0}))
    patients = latent.draw(world, 40_000, np.random.default_rng(3))
    hidden = np.column_stack([patients.health, patients.worry])
    for modality in range(3):
        chance = expit(
            world.order_logit(patients.health[:, 0], patients.worry, patients.readings[:, :3], patients.group)
        )
        surprise = patients.present[:, modality] - chance[:, modality]
        score = (surprise[:, None] * hidden).sum(0) / np.sqrt((surprise[:, None] ** 2 * hidden**2).sum(0))
        assert np.abs(score).max() < 3.5
    assert patients.present.std(0).min() > 0


@pytest.fixture(scope="module")
def world() -> latent.World:
    return latent.solve(SimulateConfig())


@pytest.fixture(scope="module")
def drawn(world: latent.World) -> latent.Patients:
    return latent.draw(world, 6000, np.random.default_rng(21))


@pytest.fixture(scope="module")
def oracles(world: latent.World, drawn: latent.Patients) -> dict[str, Floats]:
    generator = np.random.default_rng(22)
    return {reader: truth.oracle(world, drawn, readable, generator) for reader, readable in truth.READERS.items()}


@pytest.mark.parametrize(
    ("better", "worse"), [("all", "note"), ("all", "image"), ("note", "neither"), ("image", "neither")]
)
def test_every_modality_adds_to_the_oracle(better: str, worse: str, oracles, drawn: latent.Patients) -> None:
    gap, error = mean_difference(list(drawn.outcome.T), list(oracles[better].T), list(oracles[worse].T))
    assert gap > 3 * error


def test_the_note_and_the_image_show_different_things(oracles, drawn: latent.Patients) -> None:
    """Each has its say where both are there: the image helps those who have a note, and the note those with a image."""
    both = drawn.present[:, 0] & drawn.present[:, 1]
    for alone in ("note", "image"):
        labels = list(drawn.outcome[both].T)
        gap, error = mean_difference(labels, list(oracles["all"][both].T), list(oracles[alone][both].T))
        assert gap > 3 * error, alone


def test_who_knows_everything_beats_the_oracle(world: latent.World, oracles, drawn: latent.Patients) -> None:
    exact = world.outcome_logit(drawn.health, drawn.worry, drawn.pattern)
    gap, error = mean_difference(list(drawn.outcome.T), list(exact.T), list(oracles["all"].T))
    assert gap > 3 * error


@pytest.mark.parametrize("reader", list(truth.READERS))
def test_oracles_are_calibrated(reader: str, oracles, drawn: latent.Patients) -> None:
    for task in range(len(TASKS)):
        probability, outcome = oracles[reader][:, task], drawn.outcome[:, task]
        feature = logit(probability)[:, None]
        fitted = LogisticRegression(C=np.inf).fit(feature, outcome)
        design = np.column_stack([np.ones(len(outcome)), feature])
        weight = fitted.predict_proba(feature).prod(1)
        error = np.sqrt(np.linalg.inv((design * weight[:, None]).T @ design)[1, 1])
        assert abs(fitted.coef_[0, 0] - 1) < 3 * error, TASKS[task]


@pytest.mark.parametrize("reader", list(truth.READERS))
def test_oracles_have_the_mean_of_the_outcome_in_every_pattern(reader: str, oracles, drawn: latent.Patients) -> None:
    surprise = []
    for pattern in np.unique(drawn.pattern):
        rows = drawn.pattern == pattern
        probability = oracles[reader][rows]
        gap = (drawn.outcome[rows] - probability).sum(0)
        surprise.append(gap / np.sqrt((probability * (1 - probability)).sum(0)))
    assert np.abs(surprise).max() < 3.5
    assert np.square(surprise).sum() < chi2.ppf(0.995, np.size(surprise))


@pytest.mark.parametrize("seen", [(0, 1, 2), (0, 1, 2, 7), (0, 1, 2, 3, 4, 5, 6, 7)])
def test_health_given_readings_is_what_regression_finds(seen: tuple[int, ...]) -> None:
    generator = np.random.default_rng(9)
    health = generator.standard_normal((200_000, len(latent.HEALTH)))
    readings = latent.readings_of(health, generator)[:, seen]
    gain, root = truth.posterior(np.array(seen))
    fitted, *_ = np.linalg.lstsq(readings, health, rcond=None)
    assert np.allclose(fitted.T, gain, atol=0.01)
    assert np.allclose(np.cov(health.T - gain @ readings.T), root @ root.T, atol=0.01)


@pytest.mark.parametrize("pattern", [0, 2, 5])
def test_importance_sampling_agrees_with_throwing_away_what_does_not_fit(pattern: int) -> None:
    """Draw many from the model, keep those whose structured readings and presence are nearly one patient's."""
    world = latent.solve(SimulateConfig(rho=2.0, calendar=0.0))
    target, generator, kept = np.array([0.4, -0.3, 0.5]), np.random.default_rng(13), []
    for _ in range(6):
        people = latent.draw(world, 400_000, generator)
        near = (np.abs(people.readings[:, :3] - target) < 0.25).all(1) & (people.pattern == pattern)
        kept.append(expit(world.outcome_logit(people.health[near], people.worry[near], people.pattern[near])))
    brute = np.concatenate(kept)
    copies = 200
    readings = np.zeros((copies, len(latent.READINGS)))
    readings[:, :3] = target
    one = latent.draw(world, copies, generator)
    one = replace(
        one,
        readings=readings,
        present=np.tile([bool(pattern >> bit & 1) for bit in range(3)], (copies, 1)),
        pattern=np.full(copies, pattern),
    )
    sampled = truth.oracle(world, one, (), generator)
    error = np.hypot(brute.std(0) / np.sqrt(len(brute)), sampled.std(0) / np.sqrt(copies))
    assert len(brute) > 300
    assert np.abs((sampled.mean(0) - brute.mean(0)) / error).max() < 3.5
    prior = expit(world.outcome_logit(one.health, one.worry, one.pattern)).mean(0)
    assert (error < 0.25 * prior).all(), "the comparison is sharp"
