"""Two ranks share the weights of one module: its gradient is clipped as a whole, and what is inside can be called."""

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.fsdp import FullyShardedDataParallel

from mmnar_lightning.distributed.collectives import clip_gradient, full_parameters

LARGEST = 0.5


class Root(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.model = nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 3))

    def forward(self, given: torch.Tensor) -> torch.Tensor:
        return self.model(given)


def main() -> None:
    dist.init_process_group("gloo")
    torch.manual_seed(0)
    root, alone = Root(), Root()
    alone.load_state_dict(root.state_dict())
    sharded = FullyShardedDataParallel(root, use_orig_params=True, device_id=torch.device("cpu"))
    rows = torch.randn(8, 6)
    for module in (sharded, alone):
        module(rows).square().sum().backward()
        clip_gradient(module, LARGEST)
    assert sum(entry.numel() for entry in sharded.parameters()) < sum(entry.numel() for entry in alone.parameters())
    with FullyShardedDataParallel.summon_full_params(sharded, with_grads=True):
        for name, parameter in alone.named_parameters():
            torch.testing.assert_close(root.get_parameter(name).grad, parameter.grad)
    with torch.no_grad(), full_parameters(sharded):
        torch.testing.assert_close(root.model(rows), alone.model(rows))
    sharded(rows).sum().backward()  # and training goes on
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
