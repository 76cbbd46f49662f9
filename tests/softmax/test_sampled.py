"""A sample of the classes: when it is the whole softmax, and that it is right on average."""

import pytest
import torch
import torch.nn.functional as F

from userllm.softmax.protocol import Shift
from userllm.softmax.sampled import SampledSoftmax, draw_others

ROWS, CLASSES, WIDTH = 12, 60, 6


@pytest.fixture
def inputs():
    torch.manual_seed(0)
    shapes = ((ROWS, WIDTH), (CLASSES, WIDTH), (CLASSES,))
    return [torch.randn(*shape).requires_grad_() for shape in shapes]


@pytest.fixture
def target():
    # Two rows share a target.
    return torch.arange(ROWS).clamp(max=ROWS - 2) * 3


def exact(hidden, table, bias, target):
    return F.cross_entropy(F.linear(hidden, table, bias), target)


def gradients(loss, inputs):
    return torch.cat([grad.flatten() for grad in torch.autograd.grad(loss, inputs)])


@pytest.mark.parametrize("classes", [CLASSES, 10 * CLASSES])
def test_a_sample_of_all_classes_is_the_exact_softmax(inputs, target, classes):
    loss, expected = SampledSoftmax(classes=classes).loss(*inputs, target), exact(*inputs, target)
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(gradients(loss, inputs), gradients(expected, inputs))


def test_a_sample_of_all_classes_is_shifted_like_the_exact_softmax(inputs, target):
    pairs = torch.rand(ROWS, CLASSES) < 0.1
    value = torch.tensor(1.5, requires_grad=True)
    shift = Shift(*pairs.nonzero(as_tuple=True), value)
    hidden, table, bias = inputs
    loss = SampledSoftmax(classes=CLASSES).loss(hidden, table, bias, target, shift)
    expected = F.cross_entropy(F.linear(hidden, table, bias) + value * pairs, target)
    torch.testing.assert_close(loss, expected)
    found, known = (gradients(one, [*inputs, value]) for one in (loss, expected))
    torch.testing.assert_close(found, known)


def test_rows_in_several_groups_are_weighted_alike(inputs, target):
    """Nine rows have room in one group of a sample of 18, twelve do not."""
    inputs[1] = inputs[1].detach()[:18].requires_grad_()
    inputs[2] = inputs[2].detach()[:18].requires_grad_()
    loss = SampledSoftmax(classes=18).loss(*inputs, target % 18)
    torch.testing.assert_close(loss, exact(*inputs, target % 18))


def test_the_estimated_denominator_is_right_on_average(inputs, target):
    """exp(loss) is denominator / exp(score of the target), row by row."""
    softmax = SampledSoftmax(classes=24)
    hidden, table, bias = (tensor.detach() for tensor in inputs)
    rows = torch.arange(ROWS)
    exponentials = F.linear(hidden, table, bias).exp()
    sums = []
    for _ in range(2000):
        class_C, log_weight_C, at_R = softmax._draw(target, CLASSES)
        assert torch.equal(class_C[at_R], target)
        sums.append((exponentials[:, class_C] * log_weight_C.exp()).sum(dim=1))
    estimates = torch.stack(sums)
    error = estimates.std(dim=0) / len(sums) ** 0.5
    deviation = (estimates.mean(dim=0) - exponentials[rows].sum(dim=1)).abs()
    assert (deviation < 4 * error + 1e-4).all()


def test_the_expected_gradient_approaches_the_exact_one(inputs, target):
    expected = gradients(exact(*inputs, target), inputs)
    distances = []
    for classes in (24, 36, 58):
        softmax = SampledSoftmax(classes=classes)
        found = [gradients(softmax.loss(*inputs, target), inputs) for _ in range(150)]
        distances.append((torch.stack(found).mean(dim=0) - expected).norm() / expected.norm())
    assert distances[0] > distances[1] > distances[2]
    assert distances[2] < 0.02


def test_only_sampled_rows_of_the_table_get_a_gradient(inputs, target):
    loss = SampledSoftmax(classes=24).loss(*inputs, target)
    _, table, bias = torch.autograd.grad(loss, inputs)
    assert 0 < int(table.any(dim=1).sum()) <= 24
    assert table[target].any(dim=1).all()
    assert bias[target].all()


def test_samples_follow_torchs_generator(inputs, target):
    losses = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        losses.append(SampledSoftmax(classes=24).loss(*inputs, target).item())
    assert losses[0] == losses[1] != losses[2]


def test_others_are_drawn_once_each_and_never_taken_ones():
    taken = torch.tensor([0, 3, 7])
    drawn, log_weight = draw_others(taken, 20, 9)
    assert len(drawn.unique()) == len(drawn) == 9
    assert not torch.isin(drawn, taken).any()
    assert log_weight == pytest.approx(torch.tensor(17 / 9).log().item())
    assert len(draw_others(taken, 8, 9)[0]) == 5
    assert draw_others(taken, 20, 0)[1] == 0.0


def test_without_rows_the_loss_is_zero(inputs):
    inputs[0] = inputs[0][:0]
    assert SampledSoftmax(classes=24).loss(*inputs, torch.empty(0, dtype=torch.long)) == 0


def test_as_many_classes_are_compared_as_a_sample_holds():
    assert SampledSoftmax(classes=24).compared(1000) == 24
    assert SampledSoftmax(classes=24).compared(5) == 5


def test_a_sample_without_room_for_another_class_is_refused():
    with pytest.raises(ValueError, match=r"classes \(1\)"):
        SampledSoftmax(classes=1)
