"""The way of short histories equals torch's fused kernel, forward and backward."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from userllm.encoder.attention import SHORT, attend, fused_attention, is_short
from userllm.encoder.transformer import Layout


def both(lengths, heads, causal):
    """Return what is read and the gradient, by both ways."""
    torch.manual_seed(0)
    layout = Layout(torch.arange(max(lengths)) < torch.tensor(lengths)[:, None])
    rows = torch.randn(sum(lengths), 3 * 8)
    weight = torch.randn(sum(lengths), 8)
    found = []
    for way in (attend, fused_attention):
        qkv = rows.clone().requires_grad_()
        read = way(qkv, layout, heads=heads, causal=causal, dropout=0.0)
        found.append((read, *torch.autograd.grad((read * weight).sum(), qkv)))
    return found


@given(
    lengths=st.lists(st.integers(1, 9), min_size=1, max_size=5),
    heads=st.sampled_from([1, 2, 4]),
    causal=st.booleans(),
)
def test_both_ways_are_equal(lengths, heads, causal):
    for one, other in zip(*both(lengths, heads, causal), strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)


def test_only_short_histories_that_learn_take_it():
    short, long = (Layout(torch.ones(1, size, dtype=torch.bool)) for size in (SHORT, SHORT + 1))
    rows = torch.zeros(SHORT, 24, requires_grad=True)
    assert is_short(rows, short)
    assert not is_short(rows, long)
    assert not is_short(rows.detach(), short)
    assert not is_short(rows.bfloat16(), short)
