"""The test that every baseline must pass, for those of this project and of other packages alike."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from data_modules import patterns
from data_modules.batch import Batch
from data_modules.vocabulary import Modality
from mmnar_lightning.baselines.config import BaselineConfig
from mmnar_lightning.baselines.inputs import BaselineInputs, prior_logit
from mmnar_lightning.baselines.memory import Memory, TrainRows, compute_memory
from mmnar_lightning.baselines.registry import NetworkBaseline, find
from mmnar_lightning.metrics.functional import auroc
from mmnar_lightning.outputs import ModelOutputs

TASKS = ("a", "b", "c")
NUM_MODALITIES = 3
STEPS = 150
MIN_COUNT = 10
"""Fewest subjects that a mean of the memory rests on."""
ROUNDING = 1e-5
"""Difference of probabilities that rounding in float32 explains, which depends on the number of rows of a product."""
JUNK = (float("nan"), float("inf"), float("-inf"), 1e30)


class Trained:
    """A baseline trained on simulated batches.

    Args:
        config: which baseline, with its settings.
        train: rows that it learns from.
        val: rows that an estimator chooses its iterations by.
        steps: of gradient descent, of a network.
    """

    def __init__(self, config: BaselineConfig, train: Batch, val: Batch, *, steps: int = STEPS) -> None:
        self.name = config.name
        baseline = find(config.name)
        torch.manual_seed(0)
        inputs = inputs_of(train, memory=isinstance(baseline, NetworkBaseline) and baseline.needs_memory)
        if isinstance(baseline, NetworkBaseline):
            network = baseline.build(inputs, config)
            _fit_network(network, train, steps)
            self._predict: Callable[[Batch], Tensor] = lambda batch: network.eval()(batch).logits.sigmoid()
        else:
            estimator = baseline.build(inputs, config, 0)
            estimator.fit(train, val)
            self._predict = estimator.predict

    @torch.no_grad()
    def predict(self, batch: Batch) -> Tensor:
        """Probabilities, (B, T)."""
        return self._predict(batch)


def check_baseline(name: str, settings: Mapping[str, Any] | None = None, *, learns: Sequence[str] = TASKS) -> None:
    """Train a baseline on simulated rows and check what every baseline promises.

    A row's prediction is the same alone, in any batch and in any order; absent inputs and unknown labels change no
    bit; predictions are probabilities; and the tasks are learnt from the inputs and presence. An `AssertionError`
    names what does not hold.

    Args:
        name: as `baseline.name` takes it: one of this project's, or `package.module:Name`.
        settings: `baseline.settings` of one from another package.
        learns: the tasks that it must predict with an AUROC above 0.7: `a` depends on the first modality, `b` on the
            second, `c` on whether the third is present.
    """
    config = BaselineConfig(name=name, settings=dict(settings or {}))
    trained = Trained(config, simulated_batch(1500), simulated_batch(300, seed=1))
    check_rows(trained)
    check_absent(trained)
    check_labels(config)
    check_learnt(trained, learns)


def check_learnt(trained: Trained, learns: Sequence[str] = TASKS) -> None:
    """Check that a baseline predicts new rows; `learns` as for `check_baseline`."""
    test = simulated_batch(1000, seed=4)
    predicted = trained.predict(test)
    for task in learns:
        column = TASKS.index(task)
        reached = auroc(predicted[:, column], test.label[:, column])
        assert reached > 0.7, f"{trained.name} predicts the task {task} with an AUROC of {reached:.2f}"


def check_rows(trained: Trained) -> None:
    """Check that a row's prediction does not depend on the rows beside it."""
    batch = simulated_batch(40, seed=2)
    together = trained.predict(batch)
    assert together.shape == (40, len(TASKS)), f"predictions have the shape {tuple(together.shape)}"
    assert bool(((together >= 0) & (together <= 1)).all()), "predictions are no probabilities"
    order = torch.randperm(40, generator=torch.Generator().manual_seed(3)).tolist()
    torch.testing.assert_close(trained.predict(take(batch, order)), together[order], atol=ROUNDING, rtol=0)
    alone = torch.cat([trained.predict(take(batch, [row])) for row in range(40)])
    torch.testing.assert_close(alone, together, atol=ROUNDING, rtol=0)
    torch.testing.assert_close(trained.predict(take(batch, [5, 2, 5])), together[[5, 2, 5]], atol=ROUNDING, rtol=0)


def check_absent(trained: Trained) -> None:
    """Check that the inputs of absent modalities change no bit of a prediction."""
    batch = simulated_batch(40, seed=2)
    predicted = trained.predict(batch)
    for junk in JUNK:
        found = trained.predict(fill_absent(batch, junk))
        assert torch.equal(found, predicted), f"{junk} in the place of an absent modality changes a prediction"


def check_labels(config: BaselineConfig) -> None:
    """Check that absent inputs and unknown labels change nothing that is learnt."""
    train, val, test = simulated_batch(400), simulated_batch(200, seed=1), simulated_batch(40, seed=2)
    dirty = [
        replace(fill_absent(batch, torch.nan), label=batch.label.masked_fill(~batch.label_mask, torch.nan))
        for batch in (train, val)
    ]
    clean = Trained(config, train, val, steps=5).predict(test)
    found = Trained(config, dirty[0], dirty[1], steps=5).predict(test)
    assert torch.equal(found, clean), "absent inputs or unknown labels change the fit"


def simulated_batch(num_rows: int, seed: int = 0) -> Batch:
    """Rows of every pattern, with three tasks that depend on inputs and presence.

    Args:
        num_rows: B.
        seed: of the draws.

    Returns:
        Inputs `m0`, `m1`, `m2` of widths 3 to 5, also where absent; task `a` depends on m0, `b` on m1, `c` on the
        presence of m2; about a fifth of the labels is unknown.
    """
    generator = torch.Generator().manual_seed(seed)
    codes = torch.randint(2**NUM_MODALITIES, (num_rows,), generator=generator)
    present = patterns.decode(codes, NUM_MODALITIES)
    inputs = {modality.name: torch.randn(num_rows, modality.width, generator=generator) for modality in modalities_of()}
    shown = [torch.where(present[:, place], inputs[f"m{place}"][:, 0], 0.0) for place in range(2)]
    logit = torch.stack([3 * shown[0], 3 * shown[1], 4 * present[:, 2].float() - 2], dim=1) - 0.5
    return Batch(
        row_id=torch.arange(num_rows),
        subject=torch.arange(num_rows),
        present=present,
        inputs=dict(inputs),
        label=(torch.rand(num_rows, len(TASKS), generator=generator) < logit.sigmoid()).float(),
        label_mask=torch.rand(num_rows, len(TASKS), generator=generator) < 0.8,
    )


def modalities_of() -> list[Modality]:
    """The modalities of a simulated batch."""
    return [Modality(name=f"m{place}", kind="vectors", width=3 + place) for place in range(NUM_MODALITIES)]


def inputs_of(train: Batch, modalities: Sequence[Modality] | None = None, *, memory: bool = False) -> BaselineInputs:
    """What a baseline is built for; with `memory` also the memory of the rows."""
    own = modalities or modalities_of()
    prior = prior_logit(train.label.nan_to_num(), train.label_mask)
    return BaselineInputs(modalities=own, tasks=TASKS, prior=prior, memory=memory_of(train, own) if memory else None)


def memory_of(train: Batch, modalities: Sequence[Modality]) -> Memory:
    """The memory of the rows of a batch of vectors."""

    def read(rows: Tensor) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        values = {name: own[rows] for name, own in train.inputs.items() if isinstance(own, Tensor)}
        return values, {name: own.isfinite() for name, own in values.items()}

    number = torch.arange(len(train))
    rows = TrainRows(row_id=number, subject=train.subject, present=train.present, read=read)
    return compute_memory(rows, modalities, {}, MIN_COUNT)


def take(batch: Batch, rows: Sequence[int]) -> Batch:
    """Some rows of a batch, in any order."""
    index = torch.tensor(rows, dtype=torch.int64)
    columns = {name: getattr(batch, name)[index] for name in ("row_id", "subject", "present", "label", "label_mask")}
    inputs = {name: values[index] for name, values in batch.inputs.items() if isinstance(values, Tensor)}
    return Batch(**columns, inputs=dict(inputs))


def fill_absent(batch: Batch, value: float) -> Batch:
    """The same batch with a value in every slot of an absent modality."""
    inputs = {
        name: torch.where(batch.present[:, place, None], values, value)
        for place, (name, values) in enumerate(batch.inputs.items())
        if isinstance(values, Tensor)
    }
    return replace(batch, inputs=dict(inputs))


def _fit_network(network: nn.Module, train: Batch, steps: int) -> None:
    """Minimise the masked cross-entropy, and the terms that the network adds."""
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
    generator = torch.Generator().manual_seed(0)
    for _ in range(steps):
        batch = take(train, torch.randint(len(train), (128,), generator=generator).tolist())
        outputs: ModelOutputs = network.train()(batch)
        optimizer.zero_grad()
        _loss(outputs, batch).backward()  # type: ignore[no-untyped-call]
        optimizer.step()


def _loss(outputs: ModelOutputs, batch: Batch) -> Tensor:
    loss = _cross_entropy(outputs.logits, batch.label, batch.label_mask)
    if outputs.side is not None:
        shown = outputs.side.shown.unsqueeze(-1) & batch.label_mask.unsqueeze(1)
        loss = loss + _cross_entropy(outputs.side.logits, batch.label.unsqueeze(1).expand_as(shown), shown)
    return loss + sum(outputs.terms.values(), torch.zeros(()))


def _cross_entropy(logits: Tensor, label: Tensor, known: Tensor) -> Tensor:
    target = torch.where(known, label, 0.0)
    each = nn.functional.binary_cross_entropy_with_logits(logits, target, reduction="none")
    return torch.where(known, each, 0.0).sum() / known.sum().clamp(min=1)
