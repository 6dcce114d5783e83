"""Two processes with half of the data each: their averaged gradient is that of all of it.

Every process computes the derivative of its own part, and ``all_reduce`` adds them up. PyTorch's
DistributedDataParallel finds the same; as an argument it is refused, since it averages in
``backward()`` alone. Parameters that are in parts themselves (DTensor) are prepared like others.

Needs: pip install 'diffface[torch]'
It starts its two processes itself; ``torchrun --nproc-per-node=2 data_parallel.py`` does, too.
"""

import os
import subprocess
import sys

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.tensor import DeviceMesh, Replicate, Shard, distribute_tensor

import diffface as dif


def loss(model, x, y):
    return (model(x) - y).square().mean()


def energy(weight, x):
    return (x @ weight).tanh().square().sum()


def data_parallel(rank):
    """Largest difference from DistributedDataParallel, of a gradient and of a prepared one."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 1))
    data, target = torch.randn(64, 3), torch.randn(64, 1)
    x, y = data[rank::2], target[rank::2]
    wrapped = nn.parallel.DistributedDataParallel(model)
    loss(wrapped, x, y).backward()

    prepared = dif.prepare_gradient(loss, model, dif.Const(x), dif.Const(y), fallback="error")
    worst = 0.0
    for gradient in (dif.gradient(loss, model, dif.Const(x), dif.Const(y)), prepared(model, x, y)):
        for name, part in gradient.items():
            dist.all_reduce(part)
            of_torch = model.get_parameter(name).grad
            difference = part.detach() / dist.get_world_size() - of_torch
            worst = max(worst, float(difference.abs().max()))
    return worst


def in_parts():
    """Largest difference that it makes whether the weight is whole, or in parts by its rows."""
    mesh = DeviceMesh("cpu", range(dist.get_world_size()))
    weight, x = torch.linspace(-1.0, 1.0, 12).reshape(6, 2), torch.linspace(0.0, 1.0, 30)
    whole = dif.gradient(energy, weight, dif.Const(x.reshape(5, 6)))
    parts = distribute_tensor(weight, mesh, [Shard(0)])
    x = distribute_tensor(x.reshape(5, 6), mesh, [Replicate()])
    prepared = dif.prepare_gradient(energy, parts, dif.Const(x), fallback="error")
    return float((prepared(parts, x).full_tensor() - whole).abs().max())


def main(rank):
    """What one of the processes does."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    print(f"process {rank}: data {data_parallel(rank):.0e}, weight in parts {in_parts():.0e}")
    dist.destroy_process_group()


if __name__ == "__main__":
    if "RANK" in os.environ:
        main(int(os.environ["RANK"]))
    else:
        shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29531", "WORLD_SIZE": "2"}
        processes = [
            subprocess.Popen(  # noqa: S603 - this very file
                [sys.executable, sys.argv[0]],
                env={**os.environ, **shared, "RANK": str(rank)}, stdout=subprocess.PIPE, text=True,
            )
            for rank in range(2)
        ]  # fmt: skip
        said = "".join(process.communicate(timeout=300)[0] for process in processes)
        print(said, end="")
