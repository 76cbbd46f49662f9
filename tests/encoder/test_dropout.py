"""Our dropout has the law of torch's, and follows from torch's seed."""

import pytest
import torch

from userllm.encoder.dropout import Dropout


@pytest.mark.parametrize("probability", [0.1, 0.3, 0.5, 0.9])
def test_as_many_are_dropped_as_asked_and_the_mean_is_kept(probability):
    torch.manual_seed(0)
    count = 400_003  # Not a multiple of what one draw is good for.
    found = Dropout(probability)(torch.ones(count))
    error = (probability * (1 - probability) / count) ** 0.5
    assert (found == 0).float().mean().item() == pytest.approx(probability, abs=4 * error)
    assert found.unique().tolist() == pytest.approx([0, 1 / (1 - probability)], rel=1e-4)
    assert found.mean().item() == pytest.approx(1, abs=4 * error / (1 - probability))


def test_values_are_dropped_independently_of_their_place_and_their_neighbours():
    torch.manual_seed(0)
    dropped = Dropout(0.5)(torch.ones(400_000)) == 0
    for places in dropped.view(-1, 4).T:  # Four values share a draw.
        assert places.float().mean().item() == pytest.approx(0.5, abs=0.006)
    for apart in (1, 2, 3, 4, 64):
        both = (dropped[:-apart] & dropped[apart:]).float().mean().item()
        assert both == pytest.approx(0.25, abs=0.004)


def test_a_seed_gives_one_mask_and_another_seed_another():
    dropout, values, masks = Dropout(0.3), torch.ones(5, 7), []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        masks.append(dropout(values))
    assert torch.equal(masks[0], masks[1])
    assert not torch.equal(masks[0], masks[2])


def test_adding_is_a_sum_with_the_same_mask_and_gradients():
    dropout, base, values = Dropout(0.3), torch.randn(6, 4), torch.randn(6, 4)
    results = []
    for combine in (dropout.add, lambda one, other: one + dropout(other)):
        torch.manual_seed(0)
        inputs = base.clone().requires_grad_(), values.clone().requires_grad_()
        total = combine(*inputs)
        results.append([total, *torch.autograd.grad(total.square().sum(), inputs)])
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other)


def test_nothing_is_dropped_in_evaluation_or_at_zero():
    values = torch.randn(3, 4)
    for dropout in (Dropout(0.5).eval(), Dropout(0.0)):
        assert torch.equal(dropout(values), values)
        assert torch.equal(dropout.add(values, values), 2 * values)


@pytest.mark.parametrize("probability", [-0.1, 1.0])
def test_what_is_no_probability_is_refused(probability):
    with pytest.raises(ValueError, match=r"dropout \(.*\) must be at least 0 and below 1"):
        Dropout(probability)
