import torch

from mmnar_lightning.nn.encoders import ArrayEncoder, Encoders
from mmnar_lightning.nn.heads import TaskHeads
from mmnar_lightning.nn.inputs import Projection
from tests.helpers.batches import DIM, NUM_TASKS, fill_absent, make_batch, modalities

PRESENT = torch.tensor([[True, False], [False, True], [True, True]])


def test_an_encoding_ends_in_layer_norm():
    torch.manual_seed(0)
    encoding = ArrayEncoder(7, DIM, 0.0)(1000 * torch.randn(5, 7))
    torch.testing.assert_close(encoding.mean(1), torch.zeros(5), atol=1e-5, rtol=0)
    torch.testing.assert_close(encoding.var(1, unbiased=False), torch.ones(5), atol=1e-3, rtol=0)


def test_the_encoding_of_an_absent_modality_is_zero_and_of_a_present_one_is_not():
    torch.manual_seed(0)
    encodings = Encoders(modalities(2), DIM, 0.0)(fill_absent(make_batch(PRESENT), torch.nan))
    assert encodings.shape == (3, 2, DIM)
    assert torch.equal(encodings.abs().sum(-1) > 0, PRESENT)


def test_encodings_stand_in_the_order_of_the_patterns_bits_whatever_the_order_of_the_inputs():
    torch.manual_seed(0)
    encoders = Encoders(modalities(2), DIM, 0.0)
    batch = make_batch(PRESENT)
    expected = encoders(batch)
    for name in list(batch.inputs):
        batch.inputs[name] = batch.inputs.pop(name)
    batch.inputs["m0"] = batch.inputs.pop("m0")
    assert list(batch.inputs) == ["m1", "m0"]
    assert torch.equal(encoders(batch), expected)


def test_there_is_one_head_a_task_and_they_share_nothing_but_the_norm():
    torch.manual_seed(0)
    heads = TaskHeads(NUM_TASKS, DIM, 0.0)
    logits = heads(torch.randn(4, DIM))
    assert logits.shape == (4, NUM_TASKS)
    logits[:, 1].sum().backward()
    taught = {name.split(".")[1] for name, value in heads.named_parameters() if bool(value.grad.any())}
    assert taught == {"weight", "bias", "1"}


def test_a_shared_head_has_an_output_a_task_and_every_task_teaches_all_of_it():
    torch.manual_seed(0)
    heads, rows = TaskHeads(NUM_TASKS, DIM, 0.0, shared=True), torch.randn(4, DIM)
    logits = heads(rows)
    assert logits.shape == (4, NUM_TASKS)
    assert not torch.equal(logits[:, 0], logits[:, 1])
    logits[:, 1].sum().backward()
    assert all(bool(value.grad.any()) for value in heads.parameters())
    own = TaskHeads(NUM_TASKS, DIM, 0.0)
    assert sum(map(torch.numel, heads.parameters())) < sum(map(torch.numel, own.parameters()))
    heads.zero_init()
    assert not heads(rows).any()


def test_an_encoder_of_components_sees_a_vector_along_its_axes_alone():
    torch.manual_seed(0)
    axes = torch.linalg.qr(torch.randn(6, 2)).Q
    encoder = ArrayEncoder(6, 8, 0.0, Projection(axes))
    values = torch.randn(5, 6)
    beside = torch.randn(5, 6)
    beside = beside - beside @ axes @ axes.T
    torch.testing.assert_close(encoder(values), encoder(values + beside), rtol=1e-4, atol=1e-5)
    assert not torch.allclose(encoder(values), encoder(values + axes[:, 0]))
    assert "mapped.axes" in encoder.state_dict()
    assert not any("axes" in name for name, _ in encoder.named_parameters())
