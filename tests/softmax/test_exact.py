"""The whole softmax, chunk by chunk."""

import pytest
import torch
import torch.nn.functional as F

from userllm.softmax.exact import CACHED_ROWS, ExactSoftmax, linear_cross_entropy
from userllm.softmax.protocol import Shift


def tensors(rows=10, classes=7, width=4):
    torch.manual_seed(0)
    shapes = ((rows, width), (classes, width), (classes,))
    return [torch.randn(*shape).requires_grad_() for shape in shapes], torch.randint(
        classes, (rows,)
    )


def with_gradients(function, inputs):
    loss = function(*inputs)
    return [loss.detach(), *torch.autograd.grad(3 * loss, inputs)]


@pytest.mark.parametrize("rows", [1, 3, 100])
def test_chunks_equal_the_whole_with_gradients(rows):
    inputs, target = tensors()
    chunked = with_gradients(lambda *t: linear_cross_entropy(*t, target, rows=rows), inputs)
    whole = with_gradients(lambda h, t, b: F.cross_entropy(F.linear(h, t, b), target), inputs)
    for one, other in zip(chunked, whole, strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("rows", [1, 3, 100])
def test_shifted_scores_equal_shifted_dense_scores_with_gradients(rows):
    inputs, target = tensors()
    pairs = torch.rand(10, 7) < 0.3
    row_P, class_P = pairs.nonzero(as_tuple=True)
    value = torch.tensor(-0.7, requires_grad=True)

    def shifted(hidden, table, bias, value):
        shift = Shift(row_P, class_P, value)
        return linear_cross_entropy(hidden, table, bias, target, rows=rows, shift=shift)

    def dense(hidden, table, bias, value):
        return F.cross_entropy(F.linear(hidden, table, bias) + value * pairs, target)

    assert pairs[torch.arange(10), target].any()  # Some targets move as well.
    for one, other in zip(
        with_gradients(shifted, [*inputs, value]),
        with_gradients(dense, [*inputs, value]),
        strict=True,
    ):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-5)


def test_a_shift_follows_its_rows_and_classes():
    pairs = torch.rand(9, 6, generator=torch.Generator().manual_seed(0)) < 0.4
    shift = Shift(*pairs.nonzero(as_tuple=True), torch.tensor(1.0))

    def dense(shift, shape):
        found = torch.zeros(shape, dtype=torch.bool)
        found[shift.row_P, shift.class_P] = True
        return found

    assert torch.equal(dense(shift.rows(2, 7), (5, 6)), pairs[2:7])
    kept_R = torch.tensor([True, False, True, True, False, False, True, True, False])
    assert torch.equal(dense(shift.of(kept_R), (5, 6)), pairs[kept_R])
    class_C = torch.tensor([4, 0, 5])
    assert torch.equal(dense(shift.among(class_C, 6), (9, 3)), pairs[:, class_C])


def test_no_more_scores_exist_than_asked_for(monkeypatch):
    """A mebibyte holds 262,144 scores: 26 rows of 10,000."""
    shapes = []

    def addmm(bias, rows, table, *, out):
        shapes.append(tuple(out.shape))
        return out.copy_(bias + rows @ table)

    monkeypatch.setattr(torch, "addmm", addmm)
    inputs, target = tensors(rows=60, classes=10_000)
    ExactSoftmax(memory_mib=1).loss(*inputs, target)
    assert shapes == [(26, 10_000), (26, 10_000), (8, 10_000)]


def test_a_cpu_works_on_few_rows_at_a_time():
    inputs, target = tensors(rows=2 * CACHED_ROWS + 1)
    inputs[0].data *= 30  # Where one class has nearly all of the probability.
    chunked = with_gradients(lambda *t: ExactSoftmax(memory_mib=1).loss(*t, target), inputs)
    whole = with_gradients(lambda h, t, b: F.cross_entropy(F.linear(h, t, b), target), inputs)
    for one, other in zip(chunked, whole, strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-5)


def test_scores_of_any_size_have_a_finite_loss():
    hidden, bias = torch.tensor([[1e4], [-1e4]]), torch.zeros(3)
    table = torch.tensor([[1.0], [0.0], [-1.0]])
    loss = ExactSoftmax(memory_mib=1).loss(hidden, table, bias, torch.tensor([2, 2]))
    assert loss.item() == pytest.approx(1e4)


def test_one_row_is_always_possible():
    inputs, target = tensors(rows=2, classes=300_000, width=1)
    expected = F.cross_entropy(F.linear(*inputs), target)
    torch.testing.assert_close(ExactSoftmax(memory_mib=1).loss(*inputs, target), expected)


def test_without_rows_the_loss_is_zero():
    inputs, target = tensors(rows=0)
    assert ExactSoftmax(memory_mib=1).loss(*inputs, target) == 0


def test_every_class_is_compared():
    assert ExactSoftmax(memory_mib=1).compared(271_000) == 271_000


def test_no_memory_is_refused():
    with pytest.raises(ValueError, match=r"memory_mib \(0\)"):
        ExactSoftmax(memory_mib=0)
