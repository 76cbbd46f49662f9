"""The parts of a contextualized language model, each with its own learning rate.

Every parameter belongs to exactly one part, whatever name a wrapper gives it: parameters are
told apart by identity, so a table tied to the output layer cannot slip into two groups.
"""

from typing import Protocol

from torch import nn

from userllm.context.model import UserLLM

PARTS = ("lm", "lora", "encoder", "memory", "gates", "head")


class Tuning(Protocol):
    """Which parts learn; every option of ``tuning=`` is one."""

    name: str

    def apply(self, model: UserLLM) -> None:
        """Freeze and unfreeze the model's parameters, in place."""
        ...


def parts_of(model: UserLLM) -> dict[str, list[nn.Parameter]]:
    """Return every parameter of the model under its part, each once."""
    of_context = model.context.parts()
    named = {
        "lora": [p for name, p in model.lm.named_parameters() if ".lora_" in name],
        "lm": list(model.lm.parameters()),
        "encoder": [] if model.encoder is None else list(model.encoder.parameters()),
        **of_context,
        "memory": [*of_context.get("memory", []), *model.memory.parameters()],
        "head": [
            p for m in (model.item_head, model.prior) if m is not None for p in m.parameters()
        ],
    }
    taken: set[int] = set()
    parts: dict[str, list[nn.Parameter]] = {}
    for part, parameters in named.items():
        fresh = [p for p in parameters if id(p) not in taken]
        taken.update(id(p) for p in fresh)
        parts[part] = fresh
    return parts


def train_only(model: UserLLM, learning: set[str]) -> None:
    """Let exactly these parts learn."""
    for part, parameters in parts_of(model).items():
        for parameter in parameters:
            parameter.requires_grad_(part in learning)
