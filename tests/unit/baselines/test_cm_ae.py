"""The cross-modal autoencoder against a loop over rows and modalities."""

import numpy as np
import pytest
import torch

from data_modules.errors import UserError
from mmnar_lightning.baselines import cm_ae
from mmnar_lightning.baselines.config import BaselineConfig, CrossModalAutoencoderConfig
from tests.helpers.baselines import COUNT, telling_batch, without_dropout

BATCH = telling_batch(40)


def config(**settings) -> BaselineConfig:
    return BaselineConfig(name="cm_ae", cm_ae=CrossModalAutoencoderConfig(**settings))


def numbers(made, encodings, shown, row):
    """The bottleneck of a row that shows some modalities, and the squared error of each that it decodes."""
    parts = [encodings[row, m] if shown[row, m] else torch.zeros_like(encodings[row, m]) for m in range(COUNT)]
    bottleneck = made.bottleneck(torch.cat(parts))
    errors = [
        float(np.square(decoder(bottleneck).numpy() - encodings[row, m].numpy()).mean())
        for m, decoder in enumerate(made.decoders)
    ]
    return bottleneck, errors


@pytest.mark.parametrize("mode", ["train", "eval"])
@torch.no_grad()
def test_it_equals_a_loop_over_rows_and_modalities(mode: str, monkeypatch) -> None:
    made = without_dropout(config(reconstruction=0.5), BATCH).train(mode == "train")
    blanked = BATCH.present & (torch.arange(40)[:, None] % COUNT != torch.arange(COUNT))
    asked = []
    monkeypatch.setattr(cm_ae, "drop", lambda present, share: asked.append(share) or blanked)
    outputs = made(BATCH)
    shown = blanked if mode == "train" else BATCH.present
    errors = []
    for row, present in enumerate(BATCH.present.tolist()):
        bottleneck, own = numbers(made, outputs.encodings, shown, row)
        expected = made.head.weight.numpy() @ bottleneck.numpy() + made.head.bias.numpy()
        np.testing.assert_allclose(outputs.logits[row], expected, atol=2e-4)
        errors += [own[m] for m in range(COUNT) if present[m]]
    if mode == "train":
        assert asked == [0.3]
        assert outputs.terms["autoencoding"].item() == pytest.approx(0.5 * np.mean(errors), rel=1e-4)
    else:
        assert (asked, outputs.terms) == ([], {})


def test_the_target_of_the_term_has_no_gradient() -> None:
    made = without_dropout(config(blanking=0.0), BATCH).train()
    with torch.no_grad():
        for parameter in made.bottleneck.parameters():
            parameter.zero_()
    made(BATCH).terms["autoencoding"].backward()
    for parameter in made.encoders.parameters():
        assert parameter.grad is None or not bool(parameter.grad.any())


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"reconstruction": -1.0}, "reconstruction=-1.0"), ({"blanking": 1.0}, r"blanking=1.0 must be in \[0, 1\)")],
)
def test_nonsense_is_refused(settings, message: str) -> None:
    with pytest.raises(UserError, match=rf"baseline\.cm_ae\.{message}"):
        CrossModalAutoencoderConfig(**settings)
