import pytest

from userllm.report import units


@pytest.mark.parametrize(
    ("write", "value", "text"),
    [
        (units.flops, 3.56e9, "3.56 GFLOP"),
        (units.flops, 0, "0 FLOP"),
        (units.flops, 1.2e15, "1.20 PFLOP"),
        (units.memory, 812_000_000, "812 MB"),
        (units.duration, 40.5, "40.5 s"),
        (units.duration, 128, "2.13 min"),
        (units.milliseconds, 1487.2, "1,487 ms"),
        (units.milliseconds, 0.42, "0.42 ms"),
        (units.parameters, 0, "0"),
        (units.parameters, 10_800_000, "10.8 M"),
        (units.count, 620, "620"),
        (units.count, 18.25, "18.2"),
        (units.score, 0.73, "0.730"),
        (units.signed, 0.0, "+0.000"),
        (units.signed, -0.0421, "−0.042"),
        (units.chance, 0.0004, "< 0.001"),
        (units.chance, 0.0494, "0.049"),
        (units.chance, 0.0497, "0.04970"),
        (units.chance, 0.0503, "0.050"),
    ],
)
def test_numbers_read_well(write, value, text):
    assert write(value) == text
