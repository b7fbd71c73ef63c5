"""Encoders that read items: what absent rows may hold, and gradients when nobody in the batch has the modality."""

import pytest
import torch

from data_modules.batch import Items
from data_modules.vocabulary import Modality
from mmnar_lightning.nn.encoders import Encoders, ItemParts
from mmnar_lightning.nn.text import PAIR_FACTOR, WordBag
from mmnar_lightning.optim import OptimConfig, build_optimizer
from tests.helpers.batches import DIM, make_batch, modalities

WIDTH = 6


def encoders(pooling: str = "attention", lr_scale: float = 1.0) -> Encoders:
    torch.manual_seed(0)
    note = Modality(name="note", kind="documents", width=2 * WIDTH)
    backbone = WordBag(50, WIDTH)
    return Encoders([*modalities(1), note], DIM, 0.0, items={"note": ItemParts(backbone, pooling, lr_scale)})


def items(row: list[int], documents: list[list[list[int]]]) -> Items:
    """Documents given as the tokens of their windows."""
    windows = [window for document in documents for window in document]
    longest = max(map(len, windows), default=0)
    tokens = [[*window, *[0] * (longest - len(window))] for window in windows]
    item = [place for place, document in enumerate(documents) for _ in document]
    values = {"tokens": tokens, "length": [len(window) for window in windows], "item": item}
    tensors = {name: torch.tensor(value, dtype=torch.int64) for name, value in values.items()}
    tensors["tokens"] = tensors["tokens"].view(len(windows), longest)
    return Items(row=torch.tensor(row, dtype=torch.int64), values=tensors)


def batch(present: list[bool], given: Items):
    made = make_batch(torch.tensor([[True, there] for there in present]))
    made.inputs["note"] = given
    return made


def test_the_encoding_of_a_row_is_that_of_its_own_items():
    network = encoders().eval()
    one, other = [[3, 4, 5], [6, 7]], [[8, 9]]
    together = network(batch([True, False, True], items([0, 2, 2], [one, other, one])))
    alone = network(batch([True], items([0, 0], [other, one])))
    assert not together[1, 1].any()
    torch.testing.assert_close(together[2, 1], alone[0, 1])


def test_items_of_a_row_that_is_not_present_change_nothing_and_get_no_gradient():
    network = encoders().eval()
    shown = network(batch([True, False], items([0], [[[3, 4]]])))
    hidden = network(batch([True, False], items([0, 1], [[[3, 4]], [[5, 6]]])))
    torch.testing.assert_close(shown, hidden)
    (hidden * torch.arange(DIM)).sum().backward()  # the plain sum of a LayerNorm is constant
    words = network.encoders["note_encoder"].backbone.words.weight.grad
    assert words[3].any()
    assert not words[[5, 6]].any()


@pytest.mark.parametrize("junk", [torch.nan, torch.inf, 1e30])
def test_vectors_of_a_row_that_is_not_present_reach_no_gradient(junk: float) -> None:
    torch.manual_seed(0)
    note = Modality(name="note", kind="documents", width=WIDTH)
    network = Encoders([*modalities(1), note], DIM, 0.0, items={"note": ItemParts(None, "attention", 1.0)})
    found = []
    for absent in (0.0, junk):
        vectors = torch.cat([torch.ones(2, WIDTH), torch.full((2, WIDTH), absent)])
        given = Items(row=torch.tensor([0, 0, 1, 1]), values={"vectors": vectors})
        network.zero_grad()
        encoded = network(batch([True, False], given))
        (encoded * torch.arange(DIM)).sum().backward()
        weights = [weight for name, weight in network.named_parameters() if "note_encoder" in name]
        found.append([encoded.detach(), *(weight.grad.clone() for weight in weights)])
    for clean, dirty in zip(*found, strict=True):
        assert torch.equal(clean, dirty)


def test_every_parameter_has_a_gradient_when_no_row_of_the_batch_has_a_document():
    network = encoders()
    encodings = network(batch([False, False], items([], [])))
    assert torch.isfinite(encodings).all()
    (encodings * torch.arange(DIM)).sum().backward()
    missing = [name for name, parameter in network.named_parameters() if parameter.grad is None]
    assert missing == []
    assert not network.encoders["note_encoder"].backbone.words.weight.grad.any()


def test_the_backbone_learns_at_its_own_rate_and_the_rest_at_the_models():
    network = encoders(lr_scale=0.1)
    optimizer, _ = build_optimizer(network.parameters(), 10, OptimConfig(lr=1e-3))
    rates = {id(parameter): group["lr"] for group in optimizer.param_groups for parameter in group["params"]}
    for name, parameter in network.named_parameters():
        expected = 1e-4 if ".backbone." in name else 1e-3
        assert abs(rates[id(parameter)] - expected) < 1e-9, name


def test_padding_of_a_window_and_the_windows_beside_it_do_not_matter():
    backbone = WordBag(50, WIDTH).eval()
    both = items([0, 1], [[[3, 4, 5, 6]], [[7]]]).values
    alone = items([0], [[[7]]]).values
    torch.testing.assert_close(backbone(both)[1], backbone(alone)[0])


def test_a_pair_of_words_is_reported_from_the_same_words_turned_round():
    backbone = WordBag(50, WIDTH).eval()
    first, second = (backbone(items([0], [[ids]]).values) for ids in ([3, 4], [4, 3]))
    torch.testing.assert_close(first[:, :WIDTH], second[:, :WIDTH])
    assert not torch.allclose(first[:, WIDTH:], second[:, WIDTH:])


def test_a_document_is_the_mean_embedding_of_the_words_and_pairs_of_all_its_windows():
    backbone = WordBag(50, WIDTH).eval()
    found = backbone(items([0, 1], [[[3, 4, 5], [6]], [[7, 8]]]).values)
    words, pairs = backbone.words.weight, backbone.pairs.weight
    for place, windows in enumerate([[[3, 4, 5], [6]], [[7, 8]]]):
        states = [
            torch.cat([words[word], pairs[(word * PAIR_FACTOR + following) % 50]])
            for window in windows
            for word, following in zip(window, [*window[1:], 0], strict=True)
        ]
        torch.testing.assert_close(found[place], torch.stack(states).mean(0))


def test_dropout_drops_a_word_with_its_pair():
    torch.manual_seed(0)
    backbone = WordBag(50, WIDTH, dropout=0.5)
    torch.nn.init.ones_(backbone.words.weight)
    torch.nn.init.ones_(backbone.pairs.weight)
    given = items([0], [[list(range(1, 41))]]).values
    drawn = torch.stack([backbone(given) for _ in range(50)])
    assert torch.equal(drawn.amin(-1), drawn.amax(-1))
    assert drawn.std() > 0.05
    assert 0.9 < drawn.mean() < 1.1


@pytest.mark.parametrize("pooling", ["mean", "attention"])
def test_mixed_precision_pools_the_items_of_a_row(pooling: str):
    network = encoders(pooling).eval()
    given = batch([True, True], items([0, 1, 1], [[[3, 4]], [[5, 6]], [[7]]]))
    with torch.autocast("cpu", torch.bfloat16):
        mixed = network(given)
    torch.testing.assert_close(mixed.float(), network(given), rtol=0.05, atol=0.05)
