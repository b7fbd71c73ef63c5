"""Predictions that all ranks share."""

import pytest
import torch

from mmnar_lightning.evaluation.predict import predict
from tests.helpers.ranks import run_ranks
from tests.helpers.two_ranks_rectifier import NUM_ROWS, WORLD_SIZE, Model, batch_of, batches, outcome, run_rank


def test_two_ranks_with_uneven_shards_give_the_rows_and_offsets_of_one_process_bit_for_bit(tmp_path) -> None:
    run_ranks(run_rank, tmp_path, WORLD_SIZE)
    expected = outcome(predict(Model(), batches(torch.arange(NUM_ROWS)), torch.device("cpu")))
    assert expected["rectifier/offset"].abs().max() > 0.1
    assert expected["row_id"].tolist() == list(range(NUM_ROWS))
    for rank in range(WORLD_SIZE):
        found = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        assert found.keys() == expected.keys()
        for name, value in expected.items():
            assert value.dtype == found[name].dtype, name
            assert torch.equal(value.nan_to_num(), found[name].nan_to_num()), name


@pytest.mark.parametrize("training", [True, False])
def test_rows_come_once_and_by_their_id_and_the_mode_is_put_back(training: bool) -> None:
    model = Model().train(training)
    found = predict(model, batches(torch.tensor([7, 3, 3, 200])), torch.device("cpu"))
    whole = batch_of(torch.tensor([3, 7, 200]))
    assert model.training == training
    assert found.row_id.tolist() == [3, 7, 200]
    assert torch.equal(found.present, whole.present)
    assert torch.equal(found.subject, whole.subject)
    assert torch.equal(found.label_mask, whole.label_mask)
    assert torch.equal(found.logits, (whole.inputs["x"] - 1).double())
