"""What of a pretrained model learns, and with which options."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from data_modules.vocabulary import Modality
from mmnar_lightning.config.compose import load
from mmnar_lightning.encoders.config import EmbedConfig
from mmnar_lightning.encoders.text.config import TextConfig
from mmnar_lightning.encoders.trainable import text_backbone
from mmnar_lightning.nn.backbone import LORA_RANK
from mmnar_lightning.nn.text import TextBackbone
from tests.helpers import tiny_models

VALUES = {
    "tokens": torch.arange(5, 29).view(3, 8),
    "length": torch.tensor([8, 3, 5]),
    "item": torch.tensor([0, 0, 1]),
}


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> TextConfig:
    model = tiny_models.write_model(tmp_path_factory.mktemp("model") / "bert", layers=3)
    return TextConfig(encoder="transformers", mode="trained", model=str(model), window=16)


def gradients(backbone: TextBackbone, train: bool = True) -> dict[str, torch.Tensor]:
    """Gradients of the parameters that learn; every one of them has one."""
    torch.manual_seed(0)
    backbone.train(train)
    vectors = backbone(VALUES)
    (vectors * torch.linspace(0, 1, vectors.numel()).view_as(vectors)).sum().backward()
    learning = {name: entry for name, entry in backbone.named_parameters() if entry.requires_grad}
    assert all(entry.grad is not None for entry in learning.values())
    assert all(entry.grad is None for entry in backbone.parameters() if not entry.requires_grad)
    return {name: entry.grad for name, entry in learning.items()}


def test_of_a_whole_model_everything_learns_but_the_pooler_that_nothing_depends_on(config: TextConfig) -> None:
    backbone = text_backbone(config)
    frozen = [name for name, entry in backbone.named_parameters() if not entry.requires_grad]
    assert frozen == ["network.model.pooler.dense.weight", "network.model.pooler.dense.bias"]
    gradients(backbone)


def test_top_k_are_the_last_layers(config: TextConfig) -> None:
    names = gradients(text_backbone(replace(config, trainable="top_k", top_layers=2)))
    assert {name.split(".")[4] for name in names} == {"1", "2"}
    assert all(name.startswith("network.model.encoder.layer.") for name in names)
    with pytest.raises(ValueError, match=r"embed\.text\.top_layers=4: BertModel has only 3 layers"):
        text_backbone(replace(config, trainable="top_k", top_layers=4))


def test_checkpointing_changes_no_gradient_and_keeps_fewer_activations(
    config: TextConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def kept(backbone: TextBackbone) -> int:
        total = []

        def pack(tensor: torch.Tensor) -> torch.Tensor:
            total.append(tensor.numel())
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            backbone.train()(VALUES)
        return sum(total)

    plain, checkpointed = (text_backbone(replace(config, gradient_checkpointing=on)) for on in (False, True))
    for one, other in zip(gradients(plain).values(), gradients(checkpointed).values(), strict=True):
        torch.testing.assert_close(one, other)
    assert kept(checkpointed) < kept(plain) / 2


def test_checkpointing_works_where_the_lower_layers_do_not_learn(config: TextConfig) -> None:
    given = replace(config, trainable="top_k", top_layers=1, gradient_checkpointing=True)
    assert any(entry.any() for entry in gradients(text_backbone(given)).values())


def test_bf16_gives_nearly_the_same_in_float32(config: TextConfig) -> None:
    plain, half = (text_backbone(replace(config, bf16=on)).eval()(VALUES) for on in (False, True))
    assert half.dtype == torch.float32
    assert not torch.equal(plain, half)
    torch.testing.assert_close(plain, half, atol=0.05, rtol=0.05)


def test_the_precision_of_the_trainer_stands_where_bf16_is_not_asked_for(config: TextConfig) -> None:
    backbone = text_backbone(config).eval()
    plain, half = (backbone(VALUES) for backbone in (backbone, text_backbone(replace(config, bf16=True)).eval()))
    with torch.autocast("cpu", torch.bfloat16):
        trained = backbone(VALUES)
    assert trained.dtype == torch.float32
    assert torch.equal(trained, half)
    assert not torch.equal(trained, plain)


def test_two_models_of_one_seed_learn_alike_and_dropout_is_off_in_evaluation(config: TextConfig) -> None:
    first, second = text_backbone(config), text_backbone(config)
    assert torch.equal(first.eval()(VALUES), second.eval()(VALUES))
    assert not torch.equal(first.train()(VALUES), first.train()(VALUES))


def test_lora_begins_as_the_pretrained_model_and_only_its_additions_learn(config: TextConfig) -> None:
    backbone = text_backbone(replace(config, trainable="lora"))
    torch.testing.assert_close(backbone.eval()(VALUES), text_backbone(config).eval()(VALUES))
    names = gradients(backbone)
    assert names
    assert all("lora_" in name for name in names)
    assert min(min(entry.shape) for entry in names.values()) == LORA_RANK
    gradients(text_backbone(replace(config, trainable="lora", gradient_checkpointing=True)))


def test_lora_without_peft_says_what_to_install(config: TextConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    import builtins

    load: Callable[..., object] = builtins.__import__

    def without(name: str, *rest: object, **named: object) -> object:
        if name.split(".", maxsplit=1)[0] == "peft":
            raise ImportError(name)
        return load(name, *rest, **named)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ValueError, match=r"needs peft, which is not installed: pip install 'mmnar-lightning\[lora\]'"):
        text_backbone(replace(config, trainable="lora"))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"window": 7}, "embed.text.window=7 must be at least 8"),
        ({"encoder": "small", "mode": "frozen"}, "embed.text.mode=frozen: embed.text.encoder=small has random weights"),
        ({"encoder": "hashed_ngrams", "mode": "trained"}, "hashed_ngrams has nothing to train"),
        ({"encoder": "hashed_ngrams", "pooling": "attention"}, "joins the texts of a row before it counts"),
        ({"sections": [" "]}, "embed.text.sections: a heading must not be empty"),
        ({"lr_scale": 0.0}, "embed.text.lr_scale=0.0 must be above 0 and at most 100"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match="embed") as caught:
        TextConfig(**settings)  # type: ignore[arg-type]
    assert message in str(caught.value)


def test_texts_are_left_out_with_one_word_whatever_else_was_set() -> None:
    assert TextConfig(encoder="none", model="bert", lr_scale=0.1, trainable="lora").encoder == "none"


def test_a_small_encoder_learns_faster_unless_set_otherwise() -> None:
    assert TextConfig(encoder="small").rate == 30
    assert TextConfig(encoder="small", lr_scale=2).rate == 2
    assert TextConfig(encoder="transformers", mode="trained").rate == 1


def test_of_the_settings_of_all_texts_a_modality_takes_those_that_its_own_encoder_reads() -> None:
    usual = TextConfig(encoder="transformers", mode="trained", model="bert", window=16, trainable="lora")
    note, letter, report = (Modality(name=name, kind="documents", width=0) for name in ("note", "letter", "report"))
    own: dict[str, dict[str, Any]] = {
        "letter": {"encoder": "small"},
        "report": {"encoder": "hashed_ngrams", "mode": "auto"},
    }
    config = EmbedConfig(text=usual, modalities=own)
    assert config.of(note) == usual
    assert config.of(letter) == TextConfig(encoder="small", mode="trained", window=16)
    assert config.of(report) == TextConfig(encoder="hashed_ngrams")
    refused = EmbedConfig(text=usual, modalities={"letter": {"encoder": "small", "trainable": "lora"}})
    with pytest.raises(
        ValueError, match=r"^embed\.modalities\.letter\.trainable=lora is not read: it needs encoder = transformers"
    ):
        refused.of(letter)


@pytest.mark.parametrize("encoder", ["none", "hashed_ngrams", "transformers", "small"])
def test_every_encoder_can_be_laid_over_the_simulated_default(encoder: Any, workplace: Path) -> None:
    loaded = load([f"embed.text.encoder={encoder}"])
    assert loaded.simulated
    assert loaded.embed.text == TextConfig(encoder=encoder)


def test_a_backbone_that_learns_comes_in_training_mode(config: TextConfig) -> None:
    assert all(module.training for module in text_backbone(config).modules())
