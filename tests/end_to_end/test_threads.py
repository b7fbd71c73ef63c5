"""A training on processors takes one thread of PyTorch, unless the environment or a pretrained network needs more."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from lightning import Trainer

from data_modules.vocabulary import Modality
from mmnar_lightning.config.compose import load
from mmnar_lightning.runs import single
from mmnar_lightning.runs.devices import threads_of_training
from tests.conftest import write_custom_cohort
from tests.helpers.small_runs import compose

NOTE = Modality(name="note", kind="documents")
IMAGE = Modality(name="cxr", kind="images")
BERT = ["embed.text.encoder=transformers", "embed.text.model=/nowhere", "embed.text.mode=trained"]


@pytest.fixture(autouse=True)
def three(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


def test_a_run_is_trained_with_one_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    fit = Trainer.fit

    def counted(trainer: Trainer, *arguments: object, **settings: object) -> None:
        seen.append(torch.get_num_threads())
        fit(trainer, *arguments, **settings)  # type: ignore[arg-type]

    monkeypatch.setattr(Trainer, "fit", counted)
    given = write_custom_cohort(tmp_path / "given")
    words = (
        "trainer.max_epochs=1",
        "evaluate=false",
        f"paths.runs={tmp_path / 'runs'}",
        f"paths.data={tmp_path / 'd'}",
    )
    single.train(compose(given, *words))
    assert seen == [1]
    assert torch.get_num_threads() == 3


@pytest.mark.parametrize(
    ("words", "item", "device", "threads"),
    [
        ([], None, "cpu", 1),
        ([], None, "cuda", 3),
        (["embed.text.encoder=small"], NOTE, "cpu", 1),
        (["embed.image.encoder=small"], IMAGE, "cpu", 1),
        (BERT, NOTE, "cpu", 3),
        ([*BERT[:2], "embed.text.mode=frozen"], NOTE, "cpu", 1),
        (
            [
                "embed.image.encoder=timm",
                "embed.image.model=resnet18",
                "embed.image.weights=none",
                "embed.image.mode=trained",
            ],
            IMAGE,
            "cpu",
            3,
        ),
    ],
)
def test_a_pretrained_network_that_is_trained_has_all_threads(
    words: list[str], item: Modality | None, device: str, threads: int
) -> None:
    items = [] if item is None else [item]
    with threads_of_training(load(["dataset=custom", *words]), items, torch.device(device)):
        assert torch.get_num_threads() == threads
    assert torch.get_num_threads() == 3


def test_the_environment_is_respected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    with threads_of_training(load(["dataset=custom"]), [], torch.device("cpu")):
        assert torch.get_num_threads() == 3


def test_threads_are_given_back_after_an_error() -> None:
    with pytest.raises(ValueError, match="on purpose"), threads_of_training(load([]), [], torch.device("cpu")):
        raise ValueError("on purpose")
    assert torch.get_num_threads() == 3
