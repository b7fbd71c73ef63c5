"""Worlds that are not linear: their equations as docs/simulation.md states them, their rates, and their oracle."""

import math
from dataclasses import replace
from functools import cache
from itertools import product
from typing import Any

import numpy as np
import pytest
from numpy.polynomial.hermite_e import hermegauss
from numpy.typing import NDArray
from scipy.special import expit
from scipy.stats import norm
from sklearn.linear_model import LogisticRegression

from data_modules.simulate import latent, truth
from data_modules.simulate.config import ADDED, SimulateConfig
from tests.helpers.simulated_scores import Floats

STRONG: dict[str, Any] = {"nu": 0.8, "kappa": 0.7, "pi": 0.9, "phi": 2.5}
EVERY: dict[str, Any] = {**STRONG, "shared": 0.4, "nuisance": 1.5, "label_share": 0.6, "shift": 1.2}
ALONE: list[dict[str, Any]] = [{name: value} for name, value in EVERY.items()]
OUTCOME = [knobs for knobs in ALONE if not set(knobs) & {"nuisance", "label_share"}]
"""Settings that change the probability of an outcome or an order."""
SETTINGS = {"mimic_iv": latent.MIMIC, "eicu": latent.EICU}


@cache
def solved(database: str, *knobs: tuple[str, Any]) -> latent.World:
    return latent.solve(SimulateConfig(**dict(knobs)), SETTINGS[database])


def world_of(knobs: dict[str, Any], database: str = "mimic_iv") -> latent.World:
    return solved(database, *knobs.items())


def logit_of_one(
    world: latent.World, health: Floats, worry: float, pattern: int, phrase: bool, slopes: Floats, effects: Floats
) -> list[float]:
    """The logit of every outcome of one subject without its intercept, written from the document."""
    config, found = world.config, []
    for task, given in enumerate(world.setting.outcome_health.tolist()):
        length = math.sqrt(sum(b**2 for b in given))
        turned = [(1 - config.shared) * b / length for b in given]
        turned[0] += config.shared
        norm_of_turned = math.sqrt(sum(b**2 for b in turned))
        severity, structured, note, image = (length * b / norm_of_turned for b in turned)
        total = 0.0
        for coefficient, h in ((severity, health[0]), (structured, health[1])):
            bent = math.sqrt(1 - config.nu**2) * h + config.nu * (h * h - 1) / math.sqrt(2)
            total += coefficient * bent * (1 + config.pi * slopes[pattern])
        straight = note * health[2] + image * health[3]
        total += math.sqrt(1 - config.kappa**2) * straight
        total += config.kappa * math.sqrt(note**2 + image**2) * health[2] * health[3]
        total += world.setting.outcome_worry[task] * worry
        total += effects[task, pattern] + config.phi * ((1.0 if phrase else 0.0) - 0.04)
        found.append(total)
    return found


def standard(draws: Floats) -> bool:
    return np.allclose(draws.mean(-1), 0) and np.allclose(draws.std(-1), 1)


def site_of(database: str) -> tuple[Floats, Floats]:
    """The draws of slopes (8,) and of the other site's effects (T, 8), from worlds that have nothing else."""
    plain = world_of({}, database)
    slopes = (world_of({"pi": 0.9}, database).pattern_slope - 1) / 0.9
    effects = (world_of({"shift": 1.2}, database).pattern_effect - plain.pattern_effect) / 1.2
    assert standard(slopes)
    assert standard(effects)
    return slopes, effects


@pytest.mark.parametrize(
    "knobs", [{}, *OUTCOME, EVERY], ids=lambda knobs: ", ".join(knobs) if len(knobs) < 8 else "all"
)
@pytest.mark.parametrize("database", SETTINGS)
def test_the_logit_is_that_of_the_document(database: str, knobs: dict[str, Any]) -> None:
    world = world_of(knobs, database)
    people = latent.draw(world, 50, np.random.default_rng(4))
    slopes, elsewhere = site_of(database)
    effects = world_of({}, database).pattern_effect + world.config.shift * elsewhere
    phrase = np.arange(50) % 3 == 0
    found = world.outcome_logit(people.health, people.worry, people.pattern, phrase) - world.outcome_intercept
    expected = [
        logit_of_one(world, people.health[i], people.worry[i], people.pattern[i], phrase[i], slopes, effects)
        for i in range(50)
    ]
    assert np.allclose(found, expected, rtol=1e-12, atol=1e-12)


def test_no_phrase_given_is_no_phrase() -> None:
    world, health = world_of(STRONG), np.zeros((1, 4))
    absent = world.outcome_logit(health, np.zeros(1), np.zeros(1, int))
    there = world.outcome_logit(health, np.zeros(1), np.zeros(1, int), np.array([True]))
    assert np.allclose(there - absent, 2.5)


@pytest.mark.parametrize("database", SETTINGS)
@pytest.mark.parametrize("knobs", [*OUTCOME, EVERY], ids=lambda knobs: ", ".join(knobs) if len(knobs) < 8 else "all")
def test_rates_are_the_asked_ones_in_every_world(database: str, knobs: dict[str, Any]) -> None:
    world = world_of(knobs, database)
    people = latent.draw(world, 50_000, np.random.default_rng(12))
    reach = ~people.excluded
    found = np.concatenate([people.present[reach].mean(0), people.outcome[reach].mean(0)])
    rates = (latent.value_of(world.config, rate) for rate in world.setting.order_rates)
    asked = np.array([*rates, *world.setting.outcome_rates])
    error = np.sqrt(asked * (1 - asked) * (1 / reach.sum() + 1 / latent.SOLVE_DRAWS))
    assert np.abs((found - asked) / error).max() < 3.3


def test_outcomes_follow_the_logit_with_the_phrase() -> None:
    world = world_of(STRONG)
    people = latent.draw(world, 60_000, np.random.default_rng(8))
    assert abs(people.phrase.mean() - 0.04) < 4 * np.sqrt(0.04 / 60_000)
    chance = expit(world.outcome_logit(people.health, people.worry, people.pattern, people.phrase))
    for rows in (people.phrase, ~people.phrase):
        gap = (people.outcome[rows] - chance[rows]).sum(0) / np.sqrt((chance[rows] * (1 - chance[rows])).sum(0))
        assert np.abs(gap).max() < 3.3
    hidden = np.column_stack([people.health, people.worry, people.present, people.excluded])
    assert np.abs(np.corrcoef(people.phrase, hidden.T)[0, 1:]).max() < 4 / np.sqrt(60_000)


def same(one: latent.Patients, other: latent.Patients, names: str) -> bool:
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in names.split())


def test_what_a_setting_adds_moves_no_other_draw() -> None:
    plain = latent.draw(world_of({}), 400, np.random.default_rng(6))
    assert plain.labelled.all()
    assert not plain.phrase.any()
    for knobs in [*ALONE, EVERY]:
        people = latent.draw(world_of(knobs), 400, np.random.default_rng(6))
        assert same(people, plain, "health worry readings group excluded")
        assert same(people, plain, "present pattern") != ("shift" in knobs)
        assert same(people, plain, "outcome") == (not set(knobs) - {"nuisance", "label_share"})
    alone, all_of_them = (
        latent.draw(world_of(knobs), 400, np.random.default_rng(6)) for knobs in ({"phi": 2.5}, EVERY)
    )
    assert same(alone, all_of_them, "phrase")
    silent = replace(world_of({}), config=SimulateConfig(phi=1e-9, label_share=0.6))
    first, second = np.random.default_rng(6), np.random.default_rng(6)
    for _ in range(2):
        one, other = latent.draw(world_of({}), 400, first), latent.draw(silent, 400, second)
        assert other.phrase.any()
        assert same(one, other, "health worry readings group excluded present pattern outcome")


def test_a_share_of_the_subjects_is_labelled_whatever_else_they_are() -> None:
    people = latent.draw(world_of({"label_share": 0.6}), 60_000, np.random.default_rng(7))
    assert abs(people.labelled.mean() - 0.6) < 0.01
    others = np.column_stack([people.health, people.worry, people.present, people.outcome, people.excluded])
    assert np.abs(np.corrcoef(people.labelled, others.T)[0, 1:]).max() < 4 / np.sqrt(60_000)


@pytest.mark.parametrize("database", SETTINGS)
def test_another_site_differs_in_orders_and_effects_of_patterns_alone(database: str) -> None:
    here, near, far = (world_of(knobs, database) for knobs in ({}, {"shift": 1.2}, {"shift": 2.4}))
    for name in ("order_group", "outcome_health", "pattern_slope"):
        assert np.array_equal(getattr(here, name), getattr(far, name)), name
    assert np.array_equal(here.order_hidden, [latent.ORDER_SEVERITY, latent.ORDER_WORRY])
    factor = np.log(near.order_hidden / here.order_hidden)
    assert np.allclose(np.log(far.order_hidden / here.order_hidden), 2 * factor)
    assert (np.abs(factor) > 0.01).all(), "each coefficient has its own factor"
    assert len(np.unique(factor.round(6))) == factor.size
    assert np.allclose(far.pattern_effect - here.pattern_effect, 2 * (near.pattern_effect - here.pattern_effect))
    nobody = np.zeros(5)
    seen, group = np.random.default_rng(2).standard_normal((5, 3)), np.arange(5) % 4
    moved = far.order_logit(nobody, nobody, seen, group) - here.order_logit(nobody, nobody, seen, group)
    assert np.allclose(moved, far.order_intercept - here.order_intercept), "the recorded causes are the same"
    apart = far.order_logit(nobody + 1, nobody, seen, group) - far.order_logit(nobody, nobody, seen, group)
    assert np.allclose(apart, far.config.rho * far.order_hidden[0])


def test_severity_alone_is_left_where_all_is_shared() -> None:
    given, turned = latent.MIMIC.outcome_health, world_of({"shared": 1.0}).outcome_health
    assert np.allclose(turned[:, 0], np.linalg.norm(given, axis=1))
    assert np.allclose(turned[:, 1:], 0)


def exact(world: latent.World, people: latent.Patients, row: int, seen: list[int], phrase: bool | None) -> Floats:
    """P(outcome | readings, presence) of one subject, integrated over health and worry on a grid."""
    noise = np.diag(latent.NOISE**2)
    noise[5, 7] = noise[7, 5] = latent.NOISE[5] ** 2
    noise[7, 7] += latent.NOISE[5] ** 2
    precision = np.linalg.inv(noise[np.ix_(seen, seen)])
    loading = latent.LOADINGS[seen]
    covariance = np.linalg.inv(np.eye(4) + loading.T @ precision @ loading)
    mean = covariance @ loading.T @ precision @ people.readings[row, seen]
    nodes, weights = hermegauss(12)
    grid = np.array(list(product(nodes, repeat=5)))
    weight = np.array(list(product(weights, repeat=5))).prod(1)
    health, worry = mean + grid[:, :4] @ np.linalg.cholesky(covariance).T, grid[:, 4]
    group, pattern = np.full(len(grid), people.group[row]), np.full(len(grid), people.pattern[row])
    order = expit(world.order_logit(health[:, 0], worry, np.tile(people.readings[row, :3], (len(grid), 1)), group))
    weight = weight * np.where(people.present[row], order, 1 - order).prod(1)
    found = np.zeros(len(world.setting.tasks))
    for value, share in ((True, 0.04), (False, 0.96)):
        if phrase in (None, value):
            chance = expit(world.outcome_logit(health, worry, pattern, np.full(len(grid), value)))
            found += (share if phrase is None else 1.0) * weight @ chance / weight.sum()
    return found


CASES = [
    ("all", [True, True, False], True, [0, 1, 2, 3, 4, 5, 6], True),
    ("all", [False, True, True], False, [0, 1, 2, 3, 4, 7], False),
    ("all", [True, False, False], True, [0, 1, 2, 5, 6], None),
    ("image", [True, True, False], True, [0, 1, 2, 5, 6], None),
    ("note", [True, True, True], True, [0, 1, 2, 3, 4, 7], True),
    ("neither", [False, True, False], True, [0, 1, 2], None),
]


@pytest.mark.parametrize(("reader", "present", "phrase", "seen", "known"), CASES)
def test_the_oracle_is_the_integral_over_what_its_reader_does_not_know(
    reader: str, present: list[bool], phrase: bool, seen: list[int], known: bool | None
) -> None:
    world, copies = world_of(STRONG), 60
    generator = np.random.default_rng(31)
    one = latent.draw(world, copies, generator)
    one = replace(
        one,
        readings=np.tile(1.2 * generator.standard_normal(8), (copies, 1)),
        group=np.full(copies, 1),
        present=np.tile(present, (copies, 1)),
        pattern=np.full(copies, present @ np.array([1, 2, 4])),
        phrase=np.full(copies, phrase),
    )
    sampled = truth.oracle(world, one, truth.READERS[reader], generator)
    error = sampled.std(0) / np.sqrt(copies)
    gap = np.abs(sampled.mean(0) - exact(world, one, 0, seen, known))
    assert (gap < 4 * error + 1e-4).all()
    assert (error < 0.006).all(), "the comparison is sharp"


@pytest.fixture(scope="module")
def people() -> latent.Patients:
    return latent.draw(world_of(STRONG), 5000, np.random.default_rng(41))


@pytest.fixture(scope="module")
def best(people: latent.Patients) -> Floats:
    return truth.oracle(world_of(STRONG), people, (0, 1, 2), np.random.default_rng(42))


def test_the_oracle_is_calibrated(people: latent.Patients, best: Floats) -> None:
    for task in range(best.shape[1]):
        tenth = np.argsort(np.argsort(best[:, task])) * 10 // len(best)
        for part in range(10):
            chance, outcome = best[tenth == part, task], people.outcome[tenth == part, task]
            error = np.sqrt((chance * (1 - chance)).sum())
            assert abs((outcome - chance).sum()) < norm.isf(1e-4) * error, (task, part)


def losses(outcome: NDArray[np.bool_], chance: Floats) -> Floats:
    return -np.log(np.where(outcome, chance, 1 - chance))


def test_the_oracle_beats_every_linear_model_of_what_is_read(people: latent.Patients, best: Floats) -> None:
    """The model is fitted on the rows that it is scored on, so that no other linear one has a smaller loss."""
    read = np.column_stack([np.ones((len(best), 3)), people.present[:, [1, 1, 0, 0, 2]]])
    pattern = people.pattern[:, None] == np.arange(1, 8)
    inputs = np.column_stack([people.readings * read, pattern, people.phrase & people.present[:, 1]])
    for task in range(best.shape[1]):
        outcome = people.outcome[:, task]
        fitted = LogisticRegression(C=np.inf, max_iter=1000).fit(inputs, outcome)
        gap = losses(outcome, fitted.predict_proba(inputs)[:, 1]) - losses(outcome, best[:, task])
        assert gap.mean() > 3 * gap.std() / np.sqrt(len(gap)), task


def test_a_default_world_has_none_of_the_settings() -> None:
    world = world_of({})
    one = latent.draw(world, 200, np.random.default_rng(3))
    linear = world.outcome_intercept + (
        one.health @ latent.MIMIC.outcome_health.T + one.worry[:, None] * latent.MIMIC.outcome_worry
    )
    found = truth._probability(world, one.health, one.worry, one.pattern, None)
    assert np.array_equal(found, expit(linear + world.pattern_effect.T[one.pattern])), "to the last bit"
    assert np.array_equal(world.pattern_slope, np.ones(8))
    assert np.array_equal(world.outcome_health, latent.MIMIC.outcome_health)
    assert {*EVERY, "phenotypes"} == set(ADDED), "codes of phenotypes change no outcome"
