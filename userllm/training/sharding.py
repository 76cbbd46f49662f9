"""``trainer.strategy=fsdp``: the language model's blocks split over the processes of a run.

PyTorch's ``fully_shard`` splits weights, gradients and optimizer states of decoder blocks; what is
left (encoder, context, embeddings, output layer) is small beside them, is used outside of forward
passes, and stays whole on every process, where ``DistributedDataParallel`` averages its gradients.
Lightning's own strategy for this wraps whole modules, runs on GPUs alone and cannot clip gradients.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import pytorch_lightning as pl
import torch
import torch.distributed as dist
from pytorch_lightning.strategies import DDPStrategy
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer
from torch.utils._pytree import tree_map
from transformers import PreTrainedModel

HOOKS = (
    "_forward_pre_hooks",
    "_forward_hooks",
    "_state_dict_pre_hooks",
    "_load_state_dict_pre_hooks",
)
"""Where a module keeps what others want to be called for."""


class ShardedStrategy(DDPStrategy):
    """Trains with decoder blocks in shards; checkpoints are those of any other strategy."""

    def __init__(self) -> None:
        # A fine-tuned encoder does not use its pretraining heads.
        super().__init__(find_unused_parameters=True)
        self._shards: list[_Shard] = []
        self._kernels: list[tuple[Any, Any]] = []

    def configure_ddp(self) -> None:
        """Split the blocks; let the gradients of the rest be averaged."""
        module: Any = self.lightning_module
        names = {id(p): name for name, p in module.named_parameters()}
        mesh = init_device_mesh(self.root_device.type, (self.world_size,))
        for model in language_models(module):
            self._shards += shard_blocks(model, mesh)
        _replace_in_groups(module, names)
        ignored = [n for n, p in module.named_parameters() if isinstance(p, DTensor)]
        DistributedDataParallel._set_params_and_buffers_to_ignore_for_model(module, ignored)
        if any(p.requires_grad and not isinstance(p, DTensor) for p in module.parameters()):
            super().configure_ddp()

    def setup_optimizers(self, trainer: pl.Trainer) -> None:
        """Let the optimizer step tensor by tensor: no kernel takes whole and split ones."""
        super().setup_optimizers(trainer)
        groups = [group for optimizer in self.optimizers for group in optimizer.param_groups]
        self._kernels = [(group["fused"], group["foreach"]) for group in groups]
        self._step_singly()

    def lightning_module_state_dict(self) -> dict[str, Any]:
        """Return whole weights; every process has to ask."""
        state: dict[str, Any] = _whole(super().lightning_module_state_dict())
        return state

    def optimizer_state(self, optimizer: Optimizer) -> dict[str, Any]:
        """Return whole moments, numbered as an unsplit run numbers them."""
        state: dict[str, Any] = _whole(optimizer.state_dict())
        for group, (fused, foreach) in zip(state["param_groups"], self._kernels, strict=True):
            group["fused"], group["foreach"] = fused, foreach
        return state

    def load_optimizer_state_dict(self, checkpoint: Mapping[str, Any]) -> None:
        """Take the moments of any run over, each process its part."""
        for optimizer, state in zip(self.optimizers, checkpoint["optimizer_states"], strict=True):
            weights = [weight for group in optimizer.param_groups for weight in group["params"]]
            moments = {
                number: {name: _like(weights[number], value) for name, value in one.items()}
                for number, one in state["state"].items()
            }
            optimizer.load_state_dict({**state, "state": moments})
        self._step_singly()

    def gather(self) -> None:
        """Make the model whole again on every process; called once training has ended well."""
        module: Any = self.lightning_module
        names = {id(p): name for name, p in module.named_parameters()}
        for shard in self._shards:
            shard.undo()
        self._shards = []
        _replace_in_groups(module, names)

    def _step_singly(self) -> None:
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["fused"], group["foreach"] = False, False


class _Shard:
    """One split module, and what it was before."""

    def __init__(self, module: nn.Module) -> None:
        self.module, self.kind = module, type(module)
        self.hooks = {name: set(getattr(module, name)) for name in HOOKS}

    def undo(self) -> None:
        """Give the module its class, its hooks and its whole weights back."""
        self.module.__class__ = self.kind
        for name, before in self.hooks.items():
            hooks = getattr(self.module, name)
            for key in set(hooks) - before:
                del hooks[key]
        for part in self.module.modules():
            for name, weight in list(part.named_parameters(recurse=False)):
                if isinstance(weight, DTensor):
                    whole = nn.Parameter(weight.full_tensor(), weight.requires_grad)
                    part.register_parameter(name, whole)


class ShardedClipping(pl.Callback):
    """Clips gradients of whole and of split weights together, as one process would.

    Args:
        longest: Largest norm of all gradients together.
    """

    def __init__(self, longest: float) -> None:
        self.longest = longest

    def on_before_optimizer_step(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: Optimizer
    ) -> None:
        """Shorten the gradients where they are longer than allowed."""
        grads = [p.grad for p in pl_module.parameters() if p.grad is not None]
        split = [_local(grad) for grad in grads if isinstance(grad, DTensor)]
        whole = [grad for grad in grads if not isinstance(grad, DTensor)]
        squares = _squares(split, pl_module.device)
        dist.all_reduce(squares)
        norm = (squares + _squares(whole, pl_module.device)).sqrt()
        factor = (self.longest / (norm + 1e-6)).clamp(max=1.0)
        for grad in (*split, *whole):
            grad.mul_(factor.to(grad.dtype))


def language_models(module: nn.Module) -> list[PreTrainedModel]:
    """Return the language models of a module, without those that are parts of another."""
    found = [part for part in module.modules() if isinstance(part, PreTrainedModel)]
    inner = {id(part) for model in found for part in model.modules() if part is not model}
    return [model for model in found if id(model) not in inner]


def shard_blocks(model: PreTrainedModel, mesh: Any) -> Iterator[_Shard]:
    """Split the decoder blocks of a language model, and yield what is to be undone.

    Blocks are those that transformers itself would never put on two devices. Their parent keeps
    its own weights and fetches the next block while one is at work.
    """
    kinds = set(model._no_split_modules or ())
    blocks = [part for part in model.modules() if type(part).__name__ in kinds]
    inside = {id(weight) for block in blocks for weight in block.parameters()}
    own = {weight for weight in model.base_model.parameters() if id(weight) not in inside}
    for part, ignored in [*((block, None) for block in blocks), (model.base_model, own)]:
        shard = _Shard(part)
        fully_shard(part, mesh=mesh, ignored_params=ignored)
        yield shard


def finite(weight: Tensor) -> bool:
    """Return whether all numbers of a weight are finite, of a split one those that are here."""
    return bool(torch.isfinite(_local(weight)).all())


def _replace_in_groups(module: Any, names: Mapping[int, str]) -> None:
    """Put today's parameters into the optimizer's groups; splitting makes new ones."""
    now = dict(module.named_parameters(remove_duplicate=False))
    for group in module.groups:
        group["params"] = [now[names[id(weight)]] for weight in group["params"]]


def _whole(state: Any) -> Any:
    def whole(value: Any) -> Any:
        return value.full_tensor().cpu() if isinstance(value, DTensor) else value

    return tree_map(whole, state)


def _like(weight: Tensor, value: Any) -> Any:
    """Return a moment as it is kept beside a weight: split where the weight is."""
    if not isinstance(weight, DTensor) or value.shape != weight.shape:
        return value
    return distribute_tensor(value.to(weight.device), weight.device_mesh, weight.placements)


def _local(value: Tensor) -> Tensor:
    return value.to_local() if isinstance(value, DTensor) else value


def _squares(grads: list[Tensor], device: torch.device) -> Tensor:
    """Return the sum of squares of all numbers."""
    zero = torch.zeros((), device=device)
    return sum((grad.float().square().sum() for grad in grads), zero)
