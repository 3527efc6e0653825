"""Each kernel once on small, odd shapes: what compute-sanitizer watches (test_sanitizer.py).

`python -m tests.gpu.kernels.every_kernel` ends with "all ran".
"""

from __future__ import annotations

import sys

import torch

from tests.unit.kernels import attention_cases, lora_cases, row_cases

CUDA = torch.device("cuda")


def main() -> None:
    dtype = torch.bfloat16
    row_cases.check_norm(3, 1000, dtype, CUDA, layer=False, add=True)
    row_cases.check_norm(3, 63, dtype, CUDA, layer=True, add=False)
    row_cases.check_skinny(33, 1000, dtype, CUDA)
    row_cases.check_skinny(1024, 1024, dtype, CUDA)
    row_cases.check_embed(1000, dtype, CUDA)
    row_cases.check_activation(3, 1100, dtype, CUDA, "silu")
    row_cases.check_rope(7, 1, 80, 16, dtype, CUDA, norm=True)
    row_cases.check_sampler(4, 5000, CUDA)
    for heads, kv_heads, dim in ((14, 2, 64), (8, 2, 128)):
        attention_cases.check(
            attention_cases.Case(
                q_lens=(1, 1, 0, 1, 70), kv_lens=(1, 700, 0, 65, 130), heads=heads,
                kv_heads=kv_heads, dim=dim, block=64, dtype=dtype,
            ),
            CUDA,
        )  # fmt: skip
    slots = (0, -1, 1, 1, 0)
    lora_cases.check(
        lora_cases.Case(slots=slots, ranks=((3,), (8,)), widths=(70,), num_in=100, bucket=8,
                        dtype=dtype, tile=16), CUDA,
    )  # fmt: skip
    torch.cuda.synchronize()
    sys.stdout.write("all ran\n")


if __name__ == "__main__":
    main()
