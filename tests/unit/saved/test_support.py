"""What a stored model rests on."""

from pathlib import Path
from typing import Any

import pytest
import torch

from mmnar_lightning.blueprint import SavedModelError
from mmnar_lightning.saved.parts import Parts
from mmnar_lightning.saved.support import of_memories
from mmnar_lightning.saved.write import write


def test_the_smallest_memory_of_all_members_counts() -> None:
    tensors = {f"network/members.{k}.memory.support": torch.tensor(count) for k, count in enumerate((12, 7, 30))}
    assert of_memories(tensors) == 7
    assert of_memories({"network/support": torch.tensor(1)}) is None


def test_a_memory_of_fewer_subjects_is_not_stored(tmp_path: Path) -> None:
    parts = Parts(tensors={"network/memory.support": torch.tensor(9)}, maps={}, beside=())
    unread: Any = None
    with pytest.raises(SavedModelError, match=r"privacy\.min_count=10: the means .* rest on at least 9 subjects"):
        write(tmp_path / "model", parts, unread, min_count=10, facts={})
    assert not list(tmp_path.iterdir())
