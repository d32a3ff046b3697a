"""Programs with tensors of every kind, for test_uncommon_tensors.py. Each returns plain numbers."""

from __future__ import annotations

import warnings

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel


class Odd(torch.Tensor):
    """A class of the user's that does not expect to be asked."""

    @property
    def grad(self) -> torch.Tensor:
        raise ValueError("no gradient")


ODD = torch.ones(2).as_subclass(Odd)  # it is there when a recording begins


def sparse_embedding() -> list:
    torch.manual_seed(0)
    model = DistributedDataParallel(nn.Embedding(10, 3, sparse=True))
    optimizer = torch.optim.SparseAdam(model.parameters())
    for step in range(3):
        model(torch.tensor([step, 5, 5 + dist.get_rank()])).sum().backward()
        optimizer.step()
        optimizer.zero_grad()
    return model.module.weight.tolist()


def sparse_all_reduce() -> list:
    rank = dist.get_rank()
    given = torch.sparse_coo_tensor([[0, 2 + rank]], [1.0, 2.0], (5,))
    dist.all_reduce(given)
    return given.to_dense().tolist()


def sparse_layouts() -> list:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Sparse (CSR|BSR|CSC|BSC) tensor support")
        dense = torch.eye(4) * 2
        listed, csr, csc, bsr = (
            dense.to_sparse(), dense.to_sparse_csr(), dense.to_sparse_csc(), dense.to_sparse_bsr((2, 2)),
        )  # fmt: skip
        products = [(sparse @ torch.ones(4, 2)).tolist() for sparse in (listed, csr, bsr)]
        return [
            *products,
            csc.to_dense().tolist(),
            torch.sparse.sum(listed).item(),
            (listed + listed).to_dense().tolist(),
        ]


def narrow_numbers() -> list:
    x = torch.tensor([1.0, 2.0, 3.0])
    kinds = torch.float8_e4m3fn, torch.float8_e5m2, torch.float8_e8m0fnu, torch.bfloat16, torch.uint16, torch.complex64
    scale = torch.tensor(1.0)
    left, right = torch.ones(16, 16).to(torch.float8_e4m3fn), torch.ones(16, 16).to(torch.float8_e4m3fn).t()
    product = torch._scaled_mm(left, right, scale, scale, out_dtype=torch.float32)
    quantized = torch.quantize_per_tensor(x, 0.5, 0, torch.quint8)
    return [x.to(kind).float().tolist() for kind in kinds[:4]] + [product.sum().item(), quantized.dequantize().tolist()]


def other_kinds() -> list:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The PyTorch API of nested tensors")
        nested = torch.nested.nested_tensor([torch.ones(2, 3), torch.ones(4, 3)])
    jagged = torch.nested.nested_tensor([torch.ones(2, 3), torch.ones(4, 3)], layout=torch.jagged)
    ragged = [nn.functional.linear(each, torch.ones(2, 3)).unbind()[1].sum().item() for each in (nested, jagged)]
    with torch.inference_mode():
        ragged.append(torch.matmul(nested, nested.transpose(1, 2)).unbind()[1].sum().item())
    mkldnn = (torch.ones(4, 4).to_mkldnn() + torch.ones(4, 4).to_mkldnn()).to_dense().sum().item()
    mapped = torch.func.vmap(torch.func.grad(lambda x: (x**2).sum()))(torch.ones(2, 3)).tolist()
    return [
        *ragged,
        mkldnn,
        mapped,
        (ODD + 1).sum().item(),
        torch.tensor([]).sum().item(),
        torch.zeros(0, 3).mm(torch.ones(3, 2)).tolist(),
    ]


ALL = sparse_embedding, sparse_all_reduce, sparse_layouts, narrow_numbers, other_kinds


def all_of_them() -> dict[str, object]:
    return {program.__name__: program() for program in ALL}
