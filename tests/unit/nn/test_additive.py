from dataclasses import replace

import numpy as np
import pytest
import torch

from data_modules import patterns
from mmnar_lightning.model import MMNARModel
from mmnar_lightning.nn.additive import AdditiveHead, Slopes
from mmnar_lightning.nn.additive_fit import AdditiveFit, Rows, fit_heads
from mmnar_lightning.nn.canonical import canonical_axes
from mmnar_lightning.nn.config import AdditiveConfig, FusionConfig, ModelConfig
from mmnar_lightning.nn.inputs import InputMaps, PiecewiseLinear, Projection
from mmnar_lightning.nn.penalties import Penalty, candidates_of, grid
from tests.helpers.batches import DIM, NUM_TASKS, fill_absent, make_batch, modalities, take
from tests.helpers.penalised import penalised
from tests.unit.test_model import every_pattern

PATTERNS = [3, 1, 2]
SLOPES: list[Slopes] = ["shared", "presence", "pattern"]


def axes() -> torch.Tensor:
    return torch.linalg.qr(torch.randn(4, 2, generator=torch.Generator().manual_seed(0))).Q


def head(
    slopes: Slopes = "shared",
    *,
    mapped: bool = True,
    beside: tuple[str, ...] = (),
    sites: bool = False,
    canonical: int = 0,
) -> AdditiveHead:
    maps = {"m1": Projection(axes())} if mapped else {}
    return AdditiveHead(modalities(2), PATTERNS, NUM_TASKS, maps, slopes, beside, sites=sites, canonical=canonical)


def columns(batch, *, beside: bool = False) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The blocks of a batch, each divided by the root of its total variance, its one-hot pattern and its presence."""
    blocks = [(0, batch.inputs["m0"]), (1, batch.inputs["m1"] @ axes())]
    if beside:
        blocks.append((1, batch.inputs["m1"]))
    parts = []
    for place, values in blocks:
        present = batch.present[:, place].numpy()
        own = np.where(present[:, None], values.numpy(), 0.0).astype(float)
        parts.append(own / np.sqrt(own[present].var(axis=0).sum()))
    pattern = (patterns.encode(batch.present)[:, None] == torch.tensor(sorted(PATTERNS))).numpy().astype(float)
    return np.hstack(parts), pattern, batch.present.numpy().astype(float)


@pytest.mark.parametrize("slopes", SLOPES)
@pytest.mark.parametrize(("beside", "sites"), [(False, False), (True, False), (False, True)])
def test_it_starts_from_the_penalised_regression_of_each_task(slopes: Slopes, beside: bool, sites: bool):
    batch = make_batch(every_pattern(2, repeats=40))
    site = torch.arange(len(batch)) % 7 < 3
    batch = replace(batch, site=site if sites else None)
    started = head(slopes, beside=("m1",) if beside else (), sites=sites)
    rows = Rows.read(started, [batch])
    assert fit_heads([started], [(rows, rows)], [Penalty(0.5, 0.25)]) == [Penalty(0.5, 0.25)] * NUM_TASKS
    inputs, pattern, present = columns(batch, beside=beside)
    groups = {"shared": np.zeros((len(batch), 0)), "presence": present, "pattern": pattern}[slopes]
    at_target = [pattern * site.numpy()[:, None]] if sites else []
    design = np.hstack([inputs, pattern, *at_target, *(inputs * group[:, None] for group in groups.T)])
    variance = np.full(design.shape[1], 0.25)
    variance[: inputs.shape[1] + pattern.shape[1] * (1 + sites)] = 1.0
    for task in range(NUM_TASKS):
        known = batch.label_mask[:, task].numpy()
        weights = penalised(design[known], variance, batch.label[known, task].double().numpy(), 0.5)
        expected = design[known] @ weights[:-1] + weights[-1]
        found = started(batch)[known, task].detach().numpy()
        np.testing.assert_allclose(found, expected, rtol=2e-2, atol=5e-3)


@torch.no_grad()
@pytest.mark.parametrize("slopes", SLOPES)
@pytest.mark.parametrize("curve", [0.0, 0.5])
def test_a_table_in_bins_has_curves_that_all_patterns_share_and_slopes_that_may_depend_on_the_pattern(
    slopes: Slopes, curve: float
):
    batch = make_batch(every_pattern(2, repeats=40))
    table = batch.inputs["m0"].clone()
    table[::7, 0] = torch.nan
    table[1] = 100.0
    batch = replace(batch, inputs=batch.inputs | {"m0": table})
    edges = [torch.tensor([-1.0, 0.0, 1.5])] * (table.shape[1] - 1) + [torch.zeros(1)]
    encode = PiecewiseLinear(edges, table.isnan().any(0))
    started = AdditiveHead(modalities(2), PATTERNS, NUM_TASKS, {"m0": encode}, slopes)
    rows = Rows.read(started, [batch])
    fit_heads([started], [(rows, rows)], [Penalty(0.5, 0.25, curve)])
    straight = table[:, :-1].clamp(-2.0, 3.0).nan_to_num(0.0)  # one width beyond the outer edges
    parts = []
    for place, values in ((0, encode(table)), (1, batch.inputs["m1"]), (0, straight)):
        present = batch.present[:, place].numpy()
        own = np.where(present[:, None], values.numpy(), 0.0).astype(float)
        parts.append(own / np.sqrt(own[present].var(axis=0).sum()))
    pattern = (patterns.encode(batch.present)[:, None] == torch.tensor(sorted(PATTERNS))).numpy().astype(float)
    groups = {"shared": pattern[:, :0], "presence": batch.present.numpy().astype(float), "pattern": pattern}[slopes]
    deviating = np.hstack(parts[1:])
    design = np.hstack([*parts, pattern, *(deviating * group[:, None] for group in groups.T)])
    variance = np.full(design.shape[1], 0.25)
    variance[: sum(part.shape[1] for part in parts) + pattern.shape[1]] = 1.0
    variance[: encode.num_bins] = curve
    kept = variance > 0
    for task in range(NUM_TASKS):
        known = batch.label_mask[:, task].numpy()
        weights = penalised(design[known][:, kept], variance[kept], batch.label[known, task].double().numpy(), 0.5)
        expected = design[known][:, kept] @ weights[:-1] + weights[-1]
        np.testing.assert_allclose(started(batch)[known, task].numpy(), expected, rtol=2e-2, atol=1e-2)
    assert (curve == 0) == bool((started.linear.weight[:, : encode.num_bins] == 0).all())
    assert bool((started.linear.weight[:, encode.num_bins : encode.width] != 0).all()), "flags are no curves"


@torch.no_grad()
@pytest.mark.parametrize("slopes", SLOPES)
@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_canonical_axes_are_a_block_with_a_share_of_the_variance(slopes: Slopes, share: float):
    batch = make_batch(every_pattern(2, repeats=40))
    started = head(slopes, canonical=3)
    own, present = started.columns(batch)
    assert [part.shape[1] for part in own] == [batch.inputs["m0"].shape[1], 2]  # components of m1
    assert torch.equal(present, batch.present)
    started.set_canonical(canonical_axes([(own, present)], 3))
    rows = Rows.read(started, [batch])
    fit_heads([started], [(rows, rows)], [Penalty(0.5, 0.25, share=share)])
    inputs, pattern, _ = columns(batch)
    found = torch.cat([part @ other for part, other in zip(own, canonical_axes([(own, present)], 3), strict=True)], 1)
    block = found.double().numpy()
    block /= np.sqrt(block[batch.present.any(1).numpy()].var(axis=0).sum())
    groups = {"shared": pattern[:, :0], "presence": present.numpy().astype(float), "pattern": pattern}[slopes]
    read = np.hstack([inputs, block])
    prior = np.repeat([1 - share, share], [inputs.shape[1], block.shape[1]])
    design = np.hstack([read, pattern, *(read * group[:, None] for group in groups.T)])
    variance = np.concatenate([prior, np.ones(pattern.shape[1]), *[0.25 * prior] * groups.shape[1]])
    kept = variance > 0
    for task in range(NUM_TASKS):
        known = batch.label_mask[:, task].numpy()
        weights = penalised(design[known][:, kept], variance[kept], batch.label[known, task].double().numpy(), 0.5)
        expected = design[known][:, kept] @ weights[:-1] + weights[-1]
        np.testing.assert_allclose(started(batch)[known, task].numpy(), expected, rtol=2e-2, atol=1e-2)
    assert torch.equal(started(batch), started(fill_absent(batch, torch.nan)))


@torch.no_grad()
def test_a_stored_head_has_its_canonical_axes_and_held_out_rows_choose_their_share():
    batch = make_batch(every_pattern(2, repeats=40))
    started, other = head(canonical=1), head(canonical=1)
    started.set_canonical(canonical_axes([started.columns(batch)], 1))
    candidates = candidates_of(started, AdditiveConfig(inverse_penalties=[0.1, 1.0]), ())
    assert {(entry.curve, entry.share) for entry in candidates} == {(1.0, 0.0), (1.0, 0.5), (1.0, 1.0)}
    assert {entry.share for entry in candidates_of(head(), AdditiveConfig(inverse_penalties=[0.1]), ())} == {0.0}
    rows = Rows.read(started, [batch])
    held = rows.select(np.arange(len(batch)) % 2 == 0)
    fit = AdditiveFit(started, candidates)
    fit.fit(rows.select(np.arange(len(batch)) % 2 == 1))
    best = fit.losses(held).argmin(axis=1)
    chosen = fit_heads([started], [(rows.select(np.arange(len(batch)) % 2 == 1), held)], candidates)
    assert chosen == [candidates[place] for place in best]
    other.load_state_dict(started.state_dict())
    assert torch.equal(other(batch), started(batch))
    assert {name for name in other.state_dict() if name.endswith("_axes")} == {"m0_axes", "m1_axes"}


@torch.no_grad()
def test_the_order_of_what_is_read_beside_maps_is_that_of_the_modalities():
    maps: InputMaps = {
        "m0": PiecewiseLinear([torch.tensor([-1.0, 0.0, 1.0])] * 3, torch.zeros(3).bool()),
        "m1": Projection(axes()),
    }
    batch = make_batch(every_pattern(2))
    built = [AdditiveHead(modalities(2), PATTERNS, NUM_TASKS, maps, beside=own) for own in (["m1"], ["m1", "m0"])]
    torch.nn.init.normal_(built[0].linear.weight)
    built[1].load_state_dict(built[0].state_dict())
    assert torch.equal(built[0](batch), built[1](batch))
    assert list(built[0].beside) == ["m0", "m1"]


@torch.no_grad()
def test_a_row_without_a_site_has_no_intercept_of_the_target():
    batch = make_batch(every_pattern(2))
    added = head(sites=True)
    torch.nn.init.normal_(added.linear.weight)
    source, target = (replace(batch, site=torch.full((len(batch),), where)) for where in (False, True))
    assert torch.equal(added(batch), added(source))
    own = added.own_pattern(batch)[:, : len(PATTERNS)].float() @ added.linear.weight[:, -len(PATTERNS) :].T
    torch.testing.assert_close(added(target) - added(source), own)


def test_an_absent_input_and_a_pattern_of_its_own_add_nothing():
    batch = make_batch(every_pattern(2))
    for slopes in SLOPES:
        torch.manual_seed(0)
        added = head(slopes)
        torch.nn.init.normal_(added.linear.weight)
        if added.deviation is not None:
            torch.nn.init.normal_(added.deviation)
        assert torch.equal(added(batch), added(fill_absent(batch, torch.nan)))
        nothing = ~batch.present.any(1)  # pattern 0 is not listed
        assert torch.equal(added(batch)[nothing], added.linear.bias.expand(int(nothing.sum()), -1))


def test_a_task_with_one_class_stays_at_zero():
    batch = make_batch(every_pattern(2, repeats=5))
    batch.label[:, 0] = 1.0
    started = head()
    rows = Rows.read(started, [batch])
    fit_heads([started], [(rows, rows)], grid([0.1, 1.0], [1.0]))
    assert bool((started.linear.weight[0] == 0).all())
    assert bool((started.linear.weight[1] != 0).any())


@torch.no_grad()
def test_the_heads_of_all_folds_get_the_penalty_that_is_best_over_their_held_out_rows():
    batch = make_batch(every_pattern(2, repeats=30))
    fold = torch.arange(len(batch)) % 3
    candidates = grid([0.01, 0.3, 10.0], [0.1, 1.0])
    heads = [head() for _ in range(3)]
    parts = []
    for own, number in zip(heads, range(3), strict=True):
        rows = Rows.read(own, [batch])
        parts.append((rows.select((fold != number).numpy()), rows.select((fold == number).numpy())))
    chosen = fit_heads(heads, parts, candidates)
    for task in range(NUM_TASKS):
        total = []
        for candidate in candidates:
            loss = 0.0
            for number in range(3):
                alone = head()
                fit = AdditiveFit(alone, [candidate])
                fit.fit(parts[number][0])
                fit.choose(task, 0)
                rest = take(batch, (fold == number).nonzero().squeeze(1).tolist())
                known = rest.label_mask[:, task]
                logit = alone(rest)[known, task]
                loss += float(torch.nn.functional.binary_cross_entropy_with_logits(
                    logit, rest.label[known, task], reduction="sum"
                ))  # fmt: skip
            total.append(loss)
        assert chosen[task] == candidates[int(np.argmin(total))]


def test_a_model_with_it_begins_as_the_additive_head_alone_and_learns_more():
    config = ModelConfig(
        fusion=FusionConfig(dim=DIM, num_heads=4, num_blocks=1, dropout=0.0),
        additive=AdditiveConfig(inverse_penalties=[1.0]),
    )
    torch.manual_seed(0)
    model = MMNARModel(modalities(2), NUM_TASKS, config, patterns=PATTERNS)
    torch.nn.init.normal_(model.additive.linear.weight)
    batch = make_batch(every_pattern(2))
    assert torch.equal(model(batch).logits, model.additive(batch))
    model(batch).logits.square().sum().backward()
    assert any(bool(parameter.grad.any()) for parameter in model.heads.heads.parameters())


def test_a_head_in_double_precision_leaves_the_maps_of_others_as_they_are():
    maps = {"m1": Projection(axes())}
    first, second = (AdditiveHead(modalities(2), PATTERNS, NUM_TASKS, maps) for _ in range(2))
    batch = make_batch(every_pattern(2))
    before = second.inputs(batch)
    first.double()
    assert maps["m1"].axes.dtype == torch.float32
    assert torch.equal(second.inputs(batch), before)
