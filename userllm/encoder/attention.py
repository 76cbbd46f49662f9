"""Self-attention over packed histories, with a way of its own for short ones that learn on a CPU.

Shape suffixes: B batch, P positions, R positions of a batch without padding, E user width,
H heads, K head width, N = B H matrices of attention weights.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from userllm.encoder.reading import Reading

if TYPE_CHECKING:
    from userllm.encoder.transformer import Layout

SHORT = 128
"""Positions up to which it is faster to keep the attention weights than to make them twice."""


def attend(qkv_R3E: Tensor, layout: Layout, *, heads: int, causal: bool, dropout: float) -> Tensor:
    """Return what every position reads, [R, E].

    Args:
        qkv_R3E: Queries, keys and values, each of all heads side by side.
        layout: Where the real positions are.
        heads: Attention heads H.
        causal: Whether a position reads itself and earlier ones only, or all real ones.
        dropout: Probability of dropping an attention weight.
    """
    if is_short(qkv_R3E, layout) and not dropout:
        barred_NPP = _barred(layout, heads, causal)
        read: Tensor = _ShortAttention.apply(qkv_R3E, barred_NPP, layout, heads)  # type: ignore[no-untyped-call]
        return read
    return fused_attention(qkv_R3E, layout, heads=heads, causal=causal, dropout=dropout)


def is_short(qkv_R3E: Tensor, layout: Layout) -> bool:
    """Return whether gradients are asked for where torch's fused kernel is slow at them."""
    is_plain = qkv_R3E.device.type == "cpu" and qkv_R3E.dtype == torch.float32
    return is_plain and qkv_R3E.requires_grad and layout.shape[1] <= SHORT


def fused_attention(
    qkv_R3E: Tensor, layout: Layout, *, heads: int, causal: bool, dropout: float
) -> Tensor:
    """Return what every position reads, by torch's kernel; see :func:`attend`."""
    qkv_BPHK = layout.pad(qkv_R3E).unflatten(-1, (3 * heads, -1))
    q_BHPK, k_BHPK, v_BHPK = qkv_BPHK.transpose(1, 2).chunk(3, dim=1)
    # Padding is on the right, so what is causal never reads it and needs no mask.
    needs_mask = not (causal or layout.full)
    read_BHPK = F.scaled_dot_product_attention(
        q_BHPK,
        k_BHPK,
        v_BHPK,
        attn_mask=layout.mask_BP[:, None, None, :] if needs_mask else None,
        is_causal=causal,
        dropout_p=dropout,
    )
    return layout.pack(read_BHPK.transpose(1, 2).flatten(2))


def attend_next(qkv_B3E: Tensor, reading: Reading, block: nn.Module, *, heads: int) -> Tensor:
    """Return what the next position of every history reads, [B, E].

    Args:
        qkv_B3E: Its query, key and value.
        reading: Keeps the keys and values of earlier positions, and takes the new ones.
        block: Whose keys and values.
        heads: Attention heads H.
    """
    q_BE, kv_B2E = qkv_B3E.tensor_split([qkv_B3E.shape[1] // 3], dim=1)
    kv_BPHK = reading.extend(block, kv_B2E).unflatten(-1, (2 * heads, -1))
    k_BHPK, v_BHPK = kv_BPHK.transpose(1, 2).chunk(2, dim=1)
    read_BH1K = F.scaled_dot_product_attention(
        q_BE.unflatten(-1, (heads, 1, -1)),
        k_BHPK,
        v_BHPK,
        attn_mask=None if reading.equal else reading.mask()[:, None, None, :],
    )
    return read_BH1K.flatten(1)


class _ShortAttention(torch.autograd.Function):
    """The same in plain products, which keep the attention weights for the way back.

    A third faster than the fused kernel, forward and backward, at 51 positions and 2 heads; equal
    at about 128 positions, where it starts to need much memory.
    """

    @staticmethod
    def forward(
        ctx: Any, qkv_R3E: Tensor, barred_NPP: Tensor, layout: Layout, heads: int
    ) -> Tensor:
        q_NPK, k_NPK, v_NPK = (qkv_3NPK := _apart(layout.pad(qkv_R3E), 3, heads)).unbind()
        scale = q_NPK.shape[-1] ** -0.5
        weight_NPP = torch.baddbmm(barred_NPP, q_NPK, k_NPK.transpose(1, 2), alpha=scale)
        torch.softmax(weight_NPP, dim=-1, out=weight_NPP)
        read_NPK = torch.bmm(weight_NPP, v_NPK)
        ctx.save_for_backward(qkv_3NPK, weight_NPP, read_NPK)
        ctx.layout, ctx.heads, ctx.scale = layout, heads, scale
        return layout.pack(_together(read_NPK[None], heads))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_RE: Tensor) -> tuple[Tensor | None, ...]:
        (q_NPK, k_NPK, v_NPK), weight_NPP, read_NPK = ctx.saved_tensors
        grad_NPK = _apart(ctx.layout.pad(grad_RE), 1, ctx.heads)[0]
        made_3NPK = grad_NPK.new_empty(3, *grad_NPK.shape)
        torch.bmm(weight_NPP.transpose(1, 2), grad_NPK, out=made_3NPK[2])
        # Softmax's gradient; the sum of weight times gradient is that of read times gradient.
        mean_NP1 = (grad_NPK * read_NPK).sum(dim=-1, keepdim=True)
        score_NPP = torch.bmm(grad_NPK, v_NPK.transpose(1, 2)).sub_(mean_NP1).mul_(weight_NPP)
        score_NPP.mul_(ctx.scale)
        torch.bmm(score_NPP, k_NPK, out=made_3NPK[0])
        torch.bmm(score_NPP.transpose(1, 2), q_NPK, out=made_3NPK[1])
        return ctx.layout.pack(_together(made_3NPK, ctx.heads)), None, None, None


def _apart(padded_BPE: Tensor, parts: int, heads: int) -> Tensor:
    """Return [parts, N, P, K] from heads side by side in each of so many parts."""
    split = padded_BPE.unflatten(-1, (parts, heads, -1)).permute(2, 0, 3, 1, 4)
    apart: Tensor = split.flatten(1, 2).contiguous()
    return apart


def _together(split_CNPK: Tensor, heads: int) -> Tensor:
    """Undo :func:`_apart`."""
    together: Tensor = split_CNPK.unflatten(1, (-1, heads)).permute(1, 3, 0, 2, 4).flatten(2)
    return together


def _barred(layout: Layout, heads: int, causal: bool) -> Tensor:
    """Return what is added to scores so that nothing reads later positions, or padding."""
    mask_BP = layout.mask_BP
    if causal:
        positions = mask_BP.shape[1]
        later_PP = torch.full((positions, positions), -torch.inf).triu(1)
        return later_PP[None]
    padded_BP = torch.zeros(mask_BP.shape).masked_fill_(~mask_BP, -torch.inf)
    return padded_BP.repeat_interleave(heads, dim=0)[:, None, :]
