"""Blocks on packed rows: padding, direction, and what they cost."""

import pytest
import torch

from userllm.encoder.transformer import Blocks, Layout, Transformer, after_begin

SETTINGS = {
    "layers": 2,
    "width": 8,
    "heads": 2,
    "feed_forward": 4,
    "dropout": 0.0,
    "attention_dropout": 0.0,
}


def make(*, causal):
    torch.manual_seed(0)
    return Blocks(**SETTINGS, causal=causal).eval()


def lengths(*numbers):
    return torch.arange(max(numbers)) < torch.tensor(numbers)[:, None]


@pytest.mark.parametrize("causal", [True, False])
def test_rows_of_a_padded_batch_are_those_of_each_user_alone(causal):
    blocks, layout = make(causal=causal), Layout(lengths(5, 2, 1))
    rows = torch.randn(8, 8)
    together = blocks(rows, layout).split([5, 2, 1])
    for alone, part in zip(together, rows.split([5, 2, 1]), strict=True):
        single = blocks(part, Layout(lengths(len(part))))
        torch.testing.assert_close(alone, single, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("causal", [True, False])
def test_only_blocks_in_both_directions_read_later_rows(causal):
    blocks, layout = make(causal=causal), Layout(lengths(6))
    rows = torch.randn(6, 8)
    changed = rows.clone()
    changed[4] = torch.randn(8)
    moved = (blocks(rows, layout) - blocks(changed, layout)).abs().amax(dim=1) > 1e-6
    assert moved.tolist() == ([False] * 4 + [True] * 2 if causal else [True] * 6)


def test_packing_and_padding_are_inverse_to_each_other():
    layout = Layout(lengths(3, 1, 2))
    padded = torch.randn(3, 3, 4) * layout.mask_BP[:, :, None]
    assert torch.equal(layout.pad(layout.pack(padded)), padded)
    assert torch.equal(layout.position_R, torch.tensor([0, 1, 2, 0, 0, 1]))
    assert torch.equal(layout.user_R, torch.tensor([0, 0, 0, 1, 2, 2]))
    assert torch.equal(layout.last(layout.pack(padded)), padded[[0, 1, 2], [2, 0, 1]])


def test_the_begin_of_history_comes_before_any_event():
    ids = torch.tensor([[5, 6]])
    assert after_begin(ids).tolist() == [[1, 5, 6]]
    assert after_begin(ids[:, :0]).tolist() == [[1]]
    assert after_begin(ids[:, :, None].repeat(1, 1, 2)).tolist() == [[[1, 0], [5, 5], [6, 6]]]


def test_heads_that_do_not_divide_the_width_are_refused():
    with pytest.raises(ValueError, match=r"heads \(3\) must divide width \(8\)"):
        Blocks(**{**SETTINGS, "heads": 3}, causal=True)


def test_one_position_beside_the_events_is_allowed():
    transformer = Transformer(**SETTINGS, causal=True, max_events=4)
    five, six = (Layout(torch.ones(1, count, dtype=torch.bool)) for count in (5, 6))
    assert transformer(torch.zeros(5, 8), five).shape == (5, 8)
    with pytest.raises(ValueError, match="5 events, but max_events is 4"):
        transformer(torch.zeros(6, 8), six)
