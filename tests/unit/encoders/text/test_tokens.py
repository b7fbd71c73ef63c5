"""Texts by a transformer, frozen and trained: windows, pooling, what is absent, and that both give the same."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from data_modules.batch import Batch
from data_modules.features import store as arrays
from data_modules.loading.items import TokenItems, VectorItems, open_store
from data_modules.vocabulary import Modality
from mmnar_lightning.encoders.config import EmbedConfig
from mmnar_lightning.encoders.stage import embed, text_encoder
from mmnar_lightning.encoders.text import pretrained
from mmnar_lightning.encoders.text.config import TextConfig
from mmnar_lightning.encoders.trainable import item_parts, text_backbone
from mmnar_lightning.model import MMNARModel
from mmnar_lightning.nn.config import FusionConfig, ModelConfig
from mmnar_lightning.nn.text import TextBackbone
from tests.helpers import tiny_models

LONG = "edema " * 34_000
"""200 kilobytes."""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_models.write_model(tmp_path_factory.mktemp("model") / "bert")


@pytest.fixture
def frozen(model: Path) -> TextConfig:
    return TextConfig(encoder="transformers", model=str(model), window=16, batch_windows=3)


def texts(num_rows: int) -> dict[int, list[str]]:
    """Up to three notes of up to 60 words for the even rows."""
    return {
        row: [tiny_models.note(row + 9 * k, 2 + (row * 13) % 60) for k in range(1 + row % 3)]
        for row in range(0, num_rows, 2)
    }


def make(folder: Path, given: dict[int, list[str]], config: TextConfig, num_rows: int) -> Path:
    cohort = folder / "cohort"
    if not cohort.exists():
        tiny_models.write_cohort(cohort, given, num_rows)
    return embed(cohort, EmbedConfig(text=config), folder / "data", None, "cpu")["note"]


def by_hand(model: Path, text: str, window: int, overlap: int) -> np.ndarray:
    """The mean over all windows' states, one window at a time, without padding."""
    from transformers import AutoModel, AutoTokenizer

    tokenizer, network = AutoTokenizer.from_pretrained(model), AutoModel.from_pretrained(model).eval()
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    size, states = window - 2, []
    for start in range(0, len(ids), size - overlap):
        part = [tokenizer.cls_token_id, *ids[start : start + size], tokenizer.sep_token_id]
        with torch.no_grad():
            states.append(network(input_ids=torch.tensor([part])).last_hidden_state[0])
        if start + size >= len(ids):
            break
    return torch.cat(states).mean(0).numpy()


def test_a_document_is_the_mean_over_the_tokens_of_its_windows_and_a_row_the_mean_of_its_documents(
    model: Path, frozen: TextConfig, tmp_path: Path
) -> None:
    given = {
        0: [tiny_models.note(1, 5)],
        2: [tiny_models.note(2, 40), tiny_models.note(3, 17)],
        3: [tiny_models.note(2, 40)],
    }
    values = arrays.open_values(make(tmp_path, given, frozen, 5))
    expected = {
        row: np.mean([by_hand(model, text, 16, 2) for text in several], axis=0) for row, several in given.items()
    }
    for row, vector in expected.items():
        assert np.allclose(values[row], vector, atol=1e-6)
    assert not values[[1, 4]].any()


def network_of(config: TextConfig, width: int, kind: Any) -> MMNARModel:
    """A model of two modalities whose weights, except the backbone's, are drawn from one seed."""
    note = Modality(name="note", kind=kind, width=width)
    parts = {} if kind == "vectors" else {"note": item_parts(note, EmbedConfig(text=config))}
    torch.manual_seed(0)
    modalities = [Modality(name="table", kind="table", width=3), note]
    network = MMNARModel(modalities, 1, ModelConfig(fusion=FusionConfig(dim=16, num_heads=2)), items=parts)
    return network.eval()


def batch_of(folder: Path, num_rows: int) -> Batch:
    """All rows; the table is there in every one."""
    store = open_store(folder)
    present = torch.ones(num_rows, 2, dtype=torch.bool)
    present[:, 1] = torch.from_numpy(store.present)
    table = torch.linspace(-1, 1, 3 * num_rows).view(num_rows, 3)
    label = torch.ones(num_rows, 1)
    return Batch(
        row_id=torch.arange(num_rows),
        subject=torch.arange(num_rows),
        present=present,
        inputs={"table": table, "note": store.gather(np.arange(num_rows))},
        label=label,
        label_mask=label.bool(),
    )


def unscale(folder: Path) -> None:
    """Make the statistics of a store of vectors change nothing."""
    width = arrays.open_values(folder).shape[1]
    arrays.Statistics(np.zeros(width, np.float32), np.ones(width, np.float32)).save(folder)


@pytest.mark.parametrize("pooling", ["mean", "attention"])
def test_frozen_and_trained_give_the_same_representation(frozen: TextConfig, tmp_path: Path, pooling: Any) -> None:
    frozen = replace(frozen, pooling=pooling)
    trained = replace(frozen, mode="trained")
    vectors, tokens = (make(tmp_path, texts(24), config, 24) for config in (frozen, trained))
    unscale(vectors)
    assert isinstance(open_store(tokens), TokenItems)
    first = network_of(frozen, 16, "vectors" if pooling == "mean" else "documents")
    second = network_of(trained, 16, "documents")
    weights = {
        name.replace("note_encoder.", "note_encoder.encode."): value for name, value in first.state_dict().items()
    }
    given = weights if pooling == "mean" else first.state_dict()
    missing, unexpected = second.load_state_dict(given, strict=False)
    assert not unexpected
    assert all("backbone" in name for name in missing)
    with torch.no_grad():
        one, other = first(batch_of(vectors, 24)).representation, second(batch_of(tokens, 24)).representation
    assert one.std(0).max() > 1e-2
    assert torch.allclose(one, other, atol=1e-5)


def test_equal_documents_are_encoded_once_and_those_of_another_cohort_never_again(
    frozen: TextConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen, forward = [], TextBackbone.trimmed_windows

    def counted(self: TextBackbone, tokens: torch.Tensor, length: torch.Tensor, *, is_full: bool) -> torch.Tensor:
        seen.append(len(tokens))
        return forward(self, tokens, length, is_full=is_full)

    monkeypatch.setattr(TextBackbone, "trimmed_windows", counted)
    make(tmp_path, {0: ["no edema"], 1: ["no edema", "a cane"], 3: [" no edema \n"]}, frozen, 4)
    assert sum(seen) == 2
    other = tiny_models.write_cohort(tmp_path / "other", {2: ["a cane", "lungs are clear"]}, 4, fingerprint="g")
    embed(other, EmbedConfig(text=frozen), tmp_path / "data", None, "cpu")
    assert sum(seen) == 3
    make(tmp_path, {}, frozen, 4)
    assert sum(seen) == 3


def test_empty_blank_and_very_long_notes(model: Path, frozen: TextConfig, tmp_path: Path) -> None:
    folder = make(tmp_path, {0: [""], 1: [" \n\t\u00a0"], 2: [LONG], 3: ["", "no edema"]}, frozen, 5)
    values = arrays.open_values(folder)
    assert arrays.open_present(folder).tolist() == [False, False, True, True, False]
    assert np.isfinite(values).all()
    assert np.allclose(values[3], by_hand(model, "no edema", 16, 2), atol=1e-6)
    assert json.loads((folder / "manifest.json").read_text())["left_out"] == [
        "60.0% of its documents count as absent: they hold no text"
    ]


def test_a_cohort_whose_notes_are_all_empty_has_none(frozen: TextConfig, tmp_path: Path) -> None:
    for number, config in enumerate((frozen, replace(frozen, mode="trained"), replace(frozen, pooling="attention"))):
        store = open_store(make(tmp_path / str(number), {0: [""]}, config, 3))
        assert not store.present.any()
        store.gather(np.arange(3))


def test_no_more_windows_than_asked_for(frozen: TextConfig, tmp_path: Path) -> None:
    trained = replace(frozen, mode="trained")
    values = open_store(make(tmp_path, {0: [LONG]}, trained, 1)).gather(np.array([0])).values
    assert len(values["tokens"]) > 2500
    cut = open_store(make(tmp_path, {0: [LONG]}, replace(trained, max_windows=2), 1)).gather(np.array([0])).values
    assert torch.equal(cut["tokens"], values["tokens"][:2])


def test_sections_decide_what_is_read_and_a_note_without_them_is_absent(
    model: Path, frozen: TextConfig, tmp_path: Path
) -> None:
    config = replace(frozen, sections=["Brief Hospital Course"])
    notes = {0: ["Service: pain\nBRIEF HOSPITAL COURSE:\nthe stay was long\n\nFacility:\nleft side"], 1: ["no edema"]}
    folder = make(tmp_path, notes, config, 2)
    assert np.allclose(arrays.open_values(folder)[0], by_hand(model, "the stay was long", 16, 2), atol=1e-6)
    assert arrays.open_present(folder).tolist() == [True, False]
    left_out = json.loads((folder / "manifest.json").read_text())["left_out"]
    assert left_out == ["50.0% of its documents count as absent: they hold no text under Brief Hospital Course"]


def test_items_keep_their_row_and_order_whatever_rows_are_asked_for(frozen: TextConfig, tmp_path: Path) -> None:
    given = {0: ["no edema", "a cane"], 1: ["no edema"], 3: ["heart failure", "no edema"]}
    store = open_store(make(tmp_path, given, replace(frozen, pooling="attention"), 4))
    assert isinstance(store, VectorItems)
    items = store.gather(np.array([3, 2, 0]))
    assert items.row.tolist() == [0, 0, 2, 2]
    vectors = items.values["vectors"]
    assert torch.equal(vectors[1], vectors[2])
    assert not torch.equal(vectors[0], vectors[1])


@pytest.mark.parametrize("key", ["window", "max_windows", "bf16", "model"])
def test_whatever_changes_a_vector_has_a_store_of_its_own(
    frozen: TextConfig, tmp_path: Path, key: str, model: Path
) -> None:
    other = tiny_models.write_model(tmp_path / "other", seed=1)
    value: Any = {"window": 12, "max_windows": 1, "bf16": True, "model": str(other)}[key]
    encoders = [text_encoder(config, "cpu", tmp_path) for config in (frozen, replace(frozen, **{key: value}))]
    assert encoders[0].identity != encoders[1].identity
    assert encoders[0].store.folder != encoders[1].store.folder  # type: ignore[attr-defined]


def test_batches_of_the_encoder_do_not_change_what_it_gives(frozen: TextConfig) -> None:
    tokens, length = torch.randint(5, 30, (7, 12)), torch.tensor([12, 3, 7, 1, 12, 5, 2])
    values = {"tokens": tokens, "length": length, "item": torch.tensor([0, 0, 1, 2, 3, 3, 3])}
    with torch.no_grad():
        few, many = (
            text_backbone(replace(frozen, mode="trained", batch_windows=size)).eval()(values) for size in (2, 50)
        )
    assert few.shape == (4, 16)
    assert torch.allclose(few, many, atol=1e-6)


def test_windows_beyond_what_the_model_reads_are_refused(frozen: TextConfig, tmp_path: Path, model: Path) -> None:
    with pytest.raises(ValueError, match=r"embed\.text\.window=64: .*bert reads at most 32 tokens"):
        make(tmp_path, {0: ["no edema"]}, replace(frozen, window=64), 1)
    assert pretrained.width_of(model) == 16
