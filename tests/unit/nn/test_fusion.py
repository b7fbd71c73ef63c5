import re

import pytest
import torch

from data_modules import patterns
from mmnar_lightning.nn.config import FusionConfig
from mmnar_lightning.nn.fusion import Fusion
from tests.helpers.batches import DIM

NUM_MODALITIES = 4
ALL = patterns.decode(torch.arange(2**NUM_MODALITIES), NUM_MODALITIES)


def make_fusion(num_modalities: int = NUM_MODALITIES, num_blocks: int = 1) -> Fusion:
    torch.manual_seed(0)
    fusion = Fusion(num_modalities, FusionConfig(dim=DIM, num_heads=4, num_blocks=num_blocks, dropout=0.0))
    with torch.no_grad():
        for parameter in fusion.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return fusion


def encodings(present: torch.Tensor) -> torch.Tensor:
    values = torch.randn(*present.shape, DIM, generator=torch.Generator().manual_seed(1))
    return torch.where(present.unsqueeze(-1), values, 0.0)


def test_a_row_with_nothing_present_is_empty_plus_the_linear_map_of_its_pattern():
    fusion = make_fusion()
    present = ALL[[0, 5, 0]]
    fused = fusion(encodings(present), present)
    expected = fusion.empty + fusion.conditioning(fusion.pattern(torch.zeros(1, NUM_MODALITIES)))
    torch.testing.assert_close(fused[[0, 2]], expected.expand(2, -1))
    assert not torch.allclose(fused[1], expected[0])


def test_a_row_with_nothing_present_teaches_the_empty_vector_and_no_attention():
    fusion = make_fusion()
    fusion(encodings(ALL[:1]), ALL[:1]).square().sum().backward()
    assert bool(fusion.empty.grad.abs().sum() > 0)
    assert all(bool((parameter.grad == 0).all()) for parameter in fusion.blocks.parameters())


def test_every_pattern_gives_a_finite_representation_and_a_finite_gradient():
    fusion = make_fusion(num_blocks=2)
    fused = fusion(encodings(ALL), ALL)
    fused.square().sum().backward()
    assert bool(fused.isfinite().all())
    assert all(bool(parameter.grad.isfinite().all()) for parameter in fusion.parameters())


def test_absent_tokens_are_no_keys_in_any_block():
    fusion = make_fusion(num_blocks=2)
    values = torch.randn(1, NUM_MODALITIES, DIM, generator=torch.Generator().manual_seed(2))
    present = torch.tensor([[True, False, True, False]])
    other = values + 5 * (~present).unsqueeze(-1)
    assert torch.equal(fusion(values, present), fusion(other, present))


def test_no_row_of_a_block_is_masked_in_full_whatever_the_attention_kernel_makes_of_it():
    fusion, masks = make_fusion(), []
    fusion.blocks[0].register_forward_pre_hook(lambda module, given: masks.append(given[1]))
    fusion(encodings(ALL), ALL)
    assert bool(masks[0].any(1).all())
    assert torch.equal(masks[0][1:], ALL[1:])


def test_the_gates_depend_on_the_pattern_and_not_on_the_encodings():
    fusion = make_fusion()
    with torch.no_grad():
        fusion.conditioning.weight.zero_()
    one = torch.ones(2, NUM_MODALITIES, DIM)
    seen = ALL[[0b0011, 0b1011]]
    fused = fusion(torch.where(seen.unsqueeze(-1), one, 0.0), seen)
    assert not torch.allclose(fused[0], fused[1])
    gates = []
    hook = fusion.gate.register_forward_hook(lambda *call: gates.append(call[2].detach()))
    fusion(encodings(ALL), ALL)
    fusion(2 * encodings(ALL) + 1, ALL)
    hook.remove()
    assert torch.equal(gates[0], gates[1])
    assert len(gates[0].round(decimals=5).unique(dim=0)) == len(ALL)


def test_the_conditioning_depends_on_the_pattern_where_gates_are_saturated():
    fusion = make_fusion()
    with torch.no_grad():
        fusion.gate.weight.zero_()
        fusion.gate.bias.fill_(50.0)
        fusion.modality.zero_()
        for block in fusion.blocks:
            block.attention_out.weight.zero_()
    same = torch.ones(2, NUM_MODALITIES, DIM)
    present = ALL[[0b0011, 0b0101]]
    fused = fusion(torch.where(present.unsqueeze(-1), same, 0.0), present)
    z = fusion.pattern(present.float())
    torch.testing.assert_close(fused[0] - fused[1], (z[0] - z[1]) @ fusion.conditioning.weight.T)
    assert not torch.allclose(fused[0], fused[1])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"dim": 128, "num_heads": 6}, "model.fusion.num_heads=6 does not divide model.fusion.dim=128"),
        ({"dim": 0}, "model.fusion.dim=0 must be at least 1"),
        ({"num_blocks": 0}, "model.fusion.num_blocks=0 must be at least 1"),
        ({"dropout": 1.0}, "model.fusion.dropout=1.0 must be in [0, 1)"),
        ({"dropout": float("nan")}, "model.fusion.dropout=nan must be in [0, 1)"),
    ],
)
def test_settings_that_do_not_fit_together_are_refused_by_their_full_key(settings, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        FusionConfig(**settings)
