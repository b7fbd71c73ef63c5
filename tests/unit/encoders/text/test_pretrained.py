"""Models from folders: what is refused, with its name, and that nothing is unpickled or fetched."""

import json
import os
import pickle
import shutil
from pathlib import Path

import pytest
import torch
from huggingface_hub.utils._paths import filter_repo_objects
from safetensors.torch import load_file, save_file

from mmnar_lightning.encoders.config import EmbedConfig
from mmnar_lightning.encoders.stage import embed
from mmnar_lightning.encoders.text import corpus, pretrained
from mmnar_lightning.encoders.text.config import TextConfig
from mmnar_lightning.encoders.text.tokens import PretrainedTokeniser
from tests.helpers import tiny_models

WEIGHTS = "model.safetensors"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return tiny_models.write_model(tmp_path / "bert")


def rewrite(model: Path, change: dict[str, torch.Tensor | None]) -> None:
    tensors = load_file(model / WEIGHTS)
    for name, tensor in change.items():
        tensors.pop(name)
        if tensor is not None:
            tensors[name] = tensor
    save_file(tensors, model / WEIGHTS, metadata={"format": "pt"})


def test_weights_come_from_safetensors_or_from_a_file_without_code(model: Path) -> None:
    first = pretrained.load_model(model).state_dict()
    torch.save(load_file(model / WEIGHTS), model / "pytorch_model.bin")
    (model / WEIGHTS).unlink()
    second = pretrained.load_model(model).state_dict()
    assert first.keys() == second.keys()
    assert all(torch.equal(value, second[name]) for name, value in first.items())


@pytest.mark.parametrize("index", ["model.safetensors.index.json", "pytorch_model.bin.index.json"])
def test_of_a_model_in_several_files_all_that_it_needs_is_fetched(
    index: str, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = pretrained.load_model(model)
    hub = tmp_path / "hub"
    shutil.copytree(model, hub, ignore=shutil.ignore_patterns(WEIGHTS))
    (hub / "README.md").write_text("not needed")
    shards = split_weights(whole.state_dict(), hub, index)

    def fetch(name: str, revision: str | None, allow_patterns: list[str]) -> str:
        """What the hub does: give the files that match."""
        names = filter_repo_objects((path.name for path in hub.iterdir()), allow_patterns=allow_patterns)
        for file in names:
            (tmp_path / "cache").mkdir(exist_ok=True)
            shutil.copy(hub / file, tmp_path / "cache" / file)
        return str(tmp_path / "cache")

    monkeypatch.setattr("huggingface_hub.snapshot_download", fetch)
    folder = pretrained.locate("someone/sharded")
    assert {path.name for path in folder.iterdir()} == {path.name for path in hub.iterdir()} - {"README.md"}
    loaded = pretrained.load_model(folder).state_dict()
    assert all(torch.equal(value, loaded[name]) for name, value in whole.state_dict().items())
    assert {path.name for path in pretrained.files_of(folder, pretrained.WEIGHTS)} == set(shards)


def split_weights(tensors: dict[str, torch.Tensor], folder: Path, index: str) -> list[str]:
    """Write weights as two files and their index; the names of the files."""
    stem, ending = index.removesuffix(".index.json").split(".")
    names = [f"{stem}-0000{number}-of-00002.{ending}" for number in (1, 2)]
    place = {name: names[position % 2] for position, name in enumerate(sorted(tensors))}
    for file in names:
        part = {name: tensor for name, tensor in tensors.items() if place[name] == file}
        if ending == "safetensors":
            save_file(part, folder / file, metadata={"format": "pt"})
        else:
            torch.save(part, folder / file)
    (folder / index).write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": place}))
    return names


def test_a_pickle_is_refused_before_its_code_runs(model: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.mkdir, (str(model / "was_here"),)

    (model / WEIGHTS).unlink()
    torch.save({"embeddings.word_embeddings.weight": Evil()}, model / "pytorch_model.bin", pickle_module=pickle)
    with pytest.raises(ValueError, match=r"pytorch_model\.bin: these weights cannot be read"):
        pretrained.load_model(model)
    assert not (model / "was_here").exists()


@pytest.mark.parametrize("keep", [0, 5, 1000])
def test_a_cut_off_file_is_refused_with_its_name(model: Path, keep: int) -> None:
    whole = (model / WEIGHTS).read_bytes()
    (model / WEIGHTS).write_bytes(whole[:keep])
    with pytest.raises(ValueError, match=r"model\.safetensors: these weights cannot be read"):
        pretrained.load_model(model)


@pytest.mark.parametrize("put", [torch.zeros(3, 3), None])
def test_weights_of_another_shape_or_with_a_hole_are_refused_with_the_first_name(
    model: Path, put: torch.Tensor | None
) -> None:
    rewrite(model, {"encoder.layer.1.output.dense.weight": put})
    with pytest.raises(
        ValueError, match=r"model\.safetensors: these weights do not match config\.json in the same folder: 1 ten"
    ):
        pretrained.load_model(model)


def test_a_checkpoint_without_a_pooler_is_whole(model: Path) -> None:
    rewrite(model, {"pooler.dense.weight": None, "pooler.dense.bias": None})
    pretrained.load_model(model)


def test_a_folder_that_is_no_model_and_a_path_that_is_no_folder_are_refused(tmp_path: Path, model: Path) -> None:
    with pytest.raises(ValueError, match=r"embed\.text\.model=/nowhere/bert: this folder does not exist"):
        pretrained.locate("/nowhere/bert")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"empty: this folder holds no config\.json"):
        pretrained.locate(str(tmp_path / "empty"))
    (model / WEIGHTS).unlink()
    with pytest.raises(ValueError, match=r"bert: this folder holds no weights \(model\.safetensors or"):
        pretrained.locate(str(model))


def test_a_broken_configuration_and_a_broken_tokenizer_are_refused(model: Path) -> None:
    (model / "tokenizer.json").write_text("{")
    with pytest.raises(ValueError, match=r"bert: its tokenizer cannot be read"):
        pretrained.load_tokenizer(model)
    (model / "config.json").write_text("{")
    with pytest.raises(ValueError, match=r"config\.json: this configuration cannot be read"):
        pretrained.load_model(model)


def test_code_of_the_author_of_a_model_is_not_run(model: Path) -> None:
    config = json.loads((model / "config.json").read_text())
    config |= {"model_type": "mine", "auto_map": {"AutoConfig": "mine.Config", "AutoModel": "mine.Model"}}
    (model / "config.json").write_text(json.dumps(config))
    (model / "mine.py").write_text(f"import os\nos.mkdir({str(model / 'was_here')!r})\n")
    with pytest.raises(ValueError, match=r"config\.json: this configuration cannot be read"):
        pretrained.load_model(model)
    assert not (model / "was_here").exists()


def test_without_a_network_the_error_says_what_to_download_and_where_to_put_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub
    from huggingface_hub.errors import LocalEntryNotFoundError

    asked = []

    def offline(name: str, revision: str, **_: object) -> str:
        asked.append(f"{name}@{revision}")
        raise LocalEntryNotFoundError("no connection")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", offline)
    cohort = tiny_models.write_cohort(tmp_path / "c", {0: ["no edema"]}, 1)
    config = EmbedConfig(text=TextConfig(encoder="transformers"))
    with pytest.raises(ValueError, match=r"embed\.text\.model=emilyalsentzer/Bio_ClinicalBERT") as caught:
        embed(cohort, config, tmp_path / "data", None)
    for needed in ("hf download emilyalsentzer/Bio_ClinicalBERT --revision d5892b3", "set embed.text.model=FOLDER"):
        assert needed in str(caught.value)
    assert asked == [TextConfig().model]
    assert not (tmp_path / "data").exists()


VARIABLE = "TOKENIZERS_PARALLELISM"


@pytest.fixture
def threads(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """The variable as a process finds it that has not tokenised yet; what a test leaves is undone."""
    monkeypatch.setattr(pretrained, "_left", {})
    monkeypatch.setenv(VARIABLE, "undone")
    monkeypatch.delenv(VARIABLE)
    return monkeypatch


def seen_while_tokenising(tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> list[str | None]:
    """What the variable is whenever texts are tokenised, of three chunks."""
    monkeypatch.setattr(corpus, "CHUNK", 2)
    seen: list[str | None] = []
    plain = PretrainedTokeniser._windows

    def watched(self: PretrainedTokeniser, ids: list[int]) -> list[list[int]]:
        seen.append(os.environ.get(VARIABLE))
        return plain(self, ids)

    monkeypatch.setattr(PretrainedTokeniser, "_windows", watched)
    cohort = tiny_models.write_cohort(tmp_path / "c", {row: [tiny_models.note(row, 9)] for row in range(6)}, 6)
    text = TextConfig(encoder="transformers", mode="trained", model=str(model), window=16)
    embed(cohort, EmbedConfig(text=text), tmp_path / "data", None)
    return seen


def test_every_chunk_of_texts_is_tokenised_by_all_cores_and_no_fork_finds_them_at_work(
    tmp_path: Path, model: Path, threads: pytest.MonkeyPatch
) -> None:
    assert seen_while_tokenising(tmp_path, model, threads) == ["true"] * 6
    assert os.environ[VARIABLE] == "false"


def test_what_a_person_set_for_the_tokenizer_stands(tmp_path: Path, model: Path, threads: pytest.MonkeyPatch) -> None:
    threads.setenv(VARIABLE, "0")
    assert seen_while_tokenising(tmp_path, model, threads) == ["0"] * 6
    assert os.environ[VARIABLE] == "0"


def test_nothing_is_asked_of_the_hub_for_a_local_folder(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import socket

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    cohort = tiny_models.write_cohort(tmp_path / "c", {0: ["no edema"]}, 1)
    config = EmbedConfig(text=TextConfig(encoder="transformers", model=str(model), window=16))
    assert list(embed(cohort, config, tmp_path / "data", None)) == ["note"]
