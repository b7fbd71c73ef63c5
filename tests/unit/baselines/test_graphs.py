"""MUSE and GRAPE against loops over edges, written from the papers' equations in float64."""

import math
from typing import Any

import numpy as np
import pytest
import torch

from mmnar_lightning.baselines import grape, muse
from mmnar_lightning.baselines.config import BaselineConfig
from tests.helpers.baselines import COUNT, TASKS, telling_batch, without_dropout
from tests.helpers.loops import array, gelu, layer_norm, linear, relu

BATCH = telling_batch(24, seed=3)


def model(name: str) -> Any:
    return without_dropout(BaselineConfig(name=name), BATCH).eval()


def mean(vectors: list[np.ndarray], width: int) -> np.ndarray:
    return sum(vectors, np.zeros(width)) / max(len(vectors), 1)


class Graph:
    """The graph of the memory, whose patients send to the modalities, and of one row, which sends nothing.

    Patient 0 is the row.
    """

    def __init__(self, made: Any, row: int, shown: list[bool]) -> None:
        encodings = np.concatenate([array(made.encoders(BATCH)[[row]]), array(made.memory.encode(made.encoders))])
        has = [shown, *made.memory.present.tolist()]
        self.width = encodings.shape[-1]
        self.edges = {(i, m): encodings[i, m] for i in range(len(has)) for m in range(COUNT) if has[i][m]}
        self.patients = [np.ones(self.width) for _ in has]
        self.modalities = [array(made.graph.start[m]) for m in range(COUNT)]
        for layer in made.graph.layers:
            self.advance(layer)

    def advance(self, layer: Any) -> None:
        to_patients: list[list[np.ndarray]] = [[] for _ in self.patients]
        to_modalities: list[list[np.ndarray]] = [[] for _ in self.modalities]
        for (i, m), edge in self.edges.items():
            to_patients[i].append(relu(linear(layer.message, np.concatenate([self.modalities[m], edge]))))
            if i > 0:
                to_modalities[m].append(relu(linear(layer.message, np.concatenate([self.patients[i], edge]))))
        for nodes, received in ((self.patients, to_patients), (self.modalities, to_modalities)):
            for place, messages in enumerate(received):
                joined = np.concatenate([nodes[place], mean(messages, self.width)])
                nodes[place] = relu(linear(layer.update, joined))
        if layer.edge is not None:
            for (i, m), edge in self.edges.items():
                joined = np.concatenate([edge, self.patients[i], self.modalities[m]])
                self.edges[i, m] = relu(linear(layer.edge, joined))


def test_logits_of_muse_are_those_of_the_loop() -> None:
    made = model("muse")
    outputs = made(BATCH)
    assert outputs.terms == {}
    for row in range(8):
        state = Graph(made, row, BATCH.present[row].tolist()).patients[0]
        np.testing.assert_allclose(array(outputs.logits[row]), linear(made.head, state), rtol=1e-4, atol=1e-4)


def predicted(made: Any, row: int, shown: list[bool]) -> list[np.ndarray]:
    """ê of every modality."""
    graph = Graph(made, row, shown)
    first, norm, _, _, second = made.edge
    ends = [np.concatenate([graph.patients[0], graph.modalities[m]]) for m in range(COUNT)]
    return [linear(second, gelu(layer_norm(norm, linear(first, both)))) for both in ends]


def logits_of_grape(made: Any, row: int, shown: list[bool]) -> np.ndarray:
    encodings, filled = array(made.encoders(BATCH)[row]), predicted(made, row, shown)
    parts = [encodings[m] if shown[m] else filled[m] for m in range(COUNT)]
    return linear(made.head, gelu(linear(made.hidden[0], np.concatenate(parts))))


def test_logits_of_grape_are_those_of_the_loop() -> None:
    made = model("grape")
    outputs = made(BATCH)
    assert outputs.terms == {}
    for row in range(8):
        present = BATCH.present[row].tolist()
        expected = logits_of_grape(made, row, present)
        np.testing.assert_allclose(array(outputs.logits[row]), expected, rtol=1e-4, atol=1e-4)


def test_in_training_hidden_edges_are_predicted_and_their_error_alone_is_the_term_of_grape(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = model("grape").train()
    hidden = BATCH.present & (BATCH.present.sum(1, keepdim=True) > 1) & torch.tensor([True, False, False])
    assert int(hidden.sum()) > 3
    monkeypatch.setattr(grape, "drop", lambda present, probability: present & ~hidden)
    outputs = made(BATCH)
    errors = []
    for row in hidden[:, 0].nonzero().squeeze(1).tolist():
        shown = (BATCH.present & ~hidden)[row].tolist()
        expected = logits_of_grape(made, row, shown)
        np.testing.assert_allclose(array(outputs.logits[row]), expected, rtol=1e-4, atol=1e-4)
        found = predicted(made, row, shown)[0]
        errors.append(((found - array(outputs.encodings[row, 0])) ** 2).mean())
    assert outputs.terms["edges"].item() == pytest.approx(sum(errors) / len(errors), rel=1e-4)
    drawn = []
    monkeypatch.setattr(grape, "drop", lambda present, probability: drawn.append(probability) or present)
    assert made(BATCH).terms["edges"].item() == 0.0
    assert drawn == [0.3]


def test_the_terms_of_muse_are_those_of_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    made = model("muse").train()
    batch = BATCH
    batch.subject[1] = batch.subject[0]
    batch.label[~batch.label_mask] = torch.nan
    fewer = batch.present & ((batch.present.sum(1, keepdim=True) < 2) | torch.tensor([False, True, True]))
    monkeypatch.setattr(muse, "keep_some", lambda present: fewer)
    terms = made(batch).terms
    views = []
    for shown in (batch.present, fewer):
        states = [Graph(made, row, shown[row].tolist()).patients[0] for row in range(len(batch))]
        turned = [np.tanh(linear(made.contrasted, state)) for state in states]
        views.append([own / math.sqrt((own**2).sum()) for own in turned])
    subject = batch.subject.tolist()
    rows = [i for i in range(len(batch)) if batch.present[i].any()]
    losses = []
    for i in rows:
        for one, other in (views, views[::-1]):
            odds = {j: math.exp(one[i] @ other[j] / 0.07) for j in rows if j == i or subject[j] != subject[i]}
            losses.append(-math.log(odds[i] / sum(odds.values())))
    assert terms["consistency"].item() == pytest.approx(0.5 * sum(losses) / len(losses), rel=1e-4)
    per_task = []
    for task in range(len(TASKS)):
        pairs = []
        for i in range(len(batch)):
            for j in range(len(batch)):
                if subject[i] != subject[j] and batch.label_mask[i, task] and batch.label_mask[j, task]:
                    sign = 1 if batch.label[i, task] == batch.label[j, task] else -1
                    for weight, left, right in ((2, 0, 0), (1, 0, 1), (1, 1, 0)):
                        pairs.append(weight / 4 * math.log1p(math.exp(-sign * (views[left][i] @ views[right][j]))))
        per_task.append(3 * sum(pairs) / len(pairs))
    assert terms["agreement"].item() == pytest.approx(0.5 * sum(per_task) / len(per_task), rel=1e-4)


def test_rows_of_several_modalities_lose_some_edges_and_never_all() -> None:
    torch.manual_seed(0)
    present = torch.tensor([[True] * 4, [True, False, True, False], [False, True, False, False], [False] * 4])
    kept = muse.keep_some(present.repeat(2000, 1)).view(2000, 4, 4)
    assert not bool((kept & ~present).any())
    assert bool((kept[:, 2:] == present[2:]).all())
    count = kept.sum(-1).double()
    share = (count[:, :2] < present[:2].sum(1)).double().mean(0)
    torch.testing.assert_close(share, torch.tensor([0.5, 0.5], dtype=torch.float64), atol=0.04, rtol=0)
    fewer = count[:, 0][count[:, 0] < 4]
    shares = torch.stack([(fewer == number).double().mean() for number in (1, 2, 3)])
    torch.testing.assert_close(shares, torch.full((3,), 1 / 3, dtype=torch.float64), atol=0.05, rtol=0)
    torch.testing.assert_close(kept[:, 0].double().mean(0), torch.full((4,), 0.75).double(), atol=0.03, rtol=0)


def test_a_state_of_a_modality_hears_the_patients_that_have_it() -> None:
    made = model("muse")
    has = made.memory.present[:, 1]
    memory = made.memory.encode(made.encoders)
    before = made.graph.modalities(memory, made.memory.present)[1]
    changed = made.graph.modalities(memory + torch.where(has, 0.0, 9.0)[:, None, None], made.memory.present)[1]
    assert torch.equal(changed[1], before[1])
    assert not torch.equal(changed[0], before[0])
