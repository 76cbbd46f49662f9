"""Parameter groups, schedule and the table that shows them."""

import pytest
import torch
from rich.console import Console
from torch import nn

from userllm.training.metrics_file import MetricsFile
from userllm.training.module import TrainableModule
from userllm.training.schedule import warmup_cosine
from userllm.training.table import parameter_table


def make_module(groups, **parts):
    module = TrainableModule(groups=groups, steps=10, betas=(0.9, 0.98), eps=1e-8, warmup=0.1)
    for name, part in parts.items():
        module.add_module(name, part)
    return module


def group(name, params, lr=0.1):
    return {"name": name, "params": list(params), "lr": lr, "weight_decay": 0.0}


def test_schedule_climbs_to_the_peak_and_falls_to_zero():
    factors = [warmup_cosine(step, steps=100, warmup=0.1) for step in range(101)]
    assert factors[:2] == pytest.approx([0.1, 0.2])
    assert factors[9] == factors[10] == 1.0
    assert factors[55] == pytest.approx(0.5)
    assert factors[100] == pytest.approx(0.0)
    assert factors[9:] == sorted(factors[9:], reverse=True)


def test_schedule_without_warm_up_starts_at_the_peak():
    assert warmup_cosine(0, steps=5, warmup=0.0) == 1.0


def test_trainable_parameter_outside_every_group_is_refused():
    layer = nn.Linear(2, 2)
    module = make_module([group("weights", [layer.weight])], layer=layer)
    with pytest.raises(ValueError, match=r"in no group: layer\.bias"):
        module.configure_optimizers()


def test_parameter_in_two_groups_is_refused():
    layer = nn.Linear(2, 2)
    module = make_module([group("a", layer.parameters()), group("b", [layer.bias])], layer=layer)
    with pytest.raises(ValueError, match=r"more than one group: layer\.bias"):
        module.configure_optimizers()


def test_frozen_parameter_in_a_group_is_refused():
    layer = nn.Linear(2, 2).requires_grad_(False)
    module = make_module([group("a", layer.parameters())], layer=layer)
    with pytest.raises(ValueError, match=r"frozen or foreign .*layer\.bias, layer\.weight"):
        module.configure_optimizers()


def test_tied_weight_is_saved_once():
    first, second = nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False)
    second.weight = first.weight
    module = make_module([group("a", first.parameters())], first=first, second=second)
    module.configure_optimizers()
    assert list(module.state_dict()) == ["first.weight"]


def test_every_group_keeps_its_own_learning_rate():
    layer = nn.Linear(2, 2)
    module = make_module(
        [group("w", [layer.weight], lr=0.5), group("b", [layer.bias], lr=0.25)], layer=layer
    )
    optimizer = module.configure_optimizers()["optimizer"]
    assert [(g["name"], g["initial_lr"]) for g in optimizer.param_groups] == [
        ("w", 0.5),
        ("b", 0.25),
    ]


def test_table_counts_what_learns_and_what_does_not():
    layer, frozen = nn.Linear(10, 100), nn.Linear(3, 3).requires_grad_(False)
    module = make_module([group("layer", layer.parameters())], layer=layer, frozen=frozen)
    console = Console(width=100)
    with console.capture() as capture:
        console.print(parameter_table(module))
    text = capture.get()
    assert "1,100" in text
    assert "12" in text


def test_metrics_file_forgets_what_came_after_the_checkpoint(tmp_path):
    path = tmp_path / "metrics.csv"
    first = MetricsFile(path, resumed_from=0)
    first.begin()
    first.write(1, {"loss": 0.5})
    first.write(2, {"loss": 0.25, "valid": 0.125})
    first.write(3, {"loss": 1.0})
    with path.open("a") as file:
        file.write("4,lo")
    second = MetricsFile(path, resumed_from=2)
    second.begin()
    second.write(3, {"loss": 2.0})
    lines = path.read_text().splitlines()
    assert lines == [
        "step,metric,value",
        "1,loss,0.5",
        "2,loss,0.25",
        "2,valid,0.125",
        "3,loss,2.0",
    ]


def test_metrics_file_of_a_run_begun_again_starts_empty(tmp_path):
    path = tmp_path / "metrics.csv"
    MetricsFile(path, resumed_from=0).write(1, {"loss": 0.5})
    MetricsFile(path, resumed_from=0).begin()
    assert path.read_text().splitlines() == ["step,metric,value"]


def test_module_seen_by_an_optimizer_moves_only_its_groups():
    layer, frozen = nn.Linear(2, 2), nn.Linear(2, 2).requires_grad_(False)
    module = make_module([group("layer", layer.parameters())], layer=layer, frozen=frozen)
    before = frozen.weight.clone()
    optimizer = module.configure_optimizers()["optimizer"]
    (layer(frozen(torch.ones(1, 2)))).sum().backward()
    optimizer.step()
    assert torch.equal(frozen.weight, before)
