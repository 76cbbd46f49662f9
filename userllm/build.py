"""The only place where a config node becomes an object."""

import inspect
import os
from collections.abc import Iterator, Mapping
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf

from userllm.errors import UserError

PACKAGES = ("userllm.", "torch.", "pytorch_lightning.", "transformers.", "torchmetrics.")
"""Where ``_target_`` may point; ``USERLLM_ALLOW=mypkg,other`` adds a user's own packages."""


def build(node: DictConfig | Mapping[str, Any], **runtime: Any) -> Any:
    """Construct what ``node._target_`` names, so that no other file calls ``instantiate``.

    Args:
        node: A config node with a ``_target_``; nested nodes are built first.
        runtime: Keyword arguments that no YAML can hold, such as a vocabulary or a module; they
            reach every constructor in the tree that names them.

    Raises:
        UserError: The target is not allowed, or its constructor refuses the values.
    """
    from hydra.utils import instantiate

    plain = OmegaConf.to_container(node, resolve=True) if OmegaConf.is_config(node) else node
    if not isinstance(plain, Mapping) or "_target_" not in plain:
        raise UserError(f"expected a config node with a _target_, got {plain!r}")
    for target in targets_in(plain):
        locate(target)
    target = plain["_target_"]
    named = inspect.signature(locate(target)).parameters
    given = {key: value for key, value in runtime.items() if key in named}
    nested = {
        str(key): build(value, **runtime)
        for key, value in plain.items()
        if isinstance(value, Mapping) and "_target_" in value
    }
    values = {key: value for key, value in plain.items() if key not in nested}
    try:
        # Objects are passed after instantiate, which would copy and convert them.
        return instantiate(values, _partial_=True, _convert_="all")(**nested, **given)
    except Exception as error:
        # Hydra wraps what a constructor raised; the reader wants the original.
        cause = error.__cause__ or error
        if isinstance(cause, ValueError):
            raise UserError(f"{target}: {cause}") from cause
        raise cause from None


def locate(target: str) -> type:
    """Return the class that ``target`` names, when it is one that a config may build.

    The class's own module is compared too: ``torch.os.system`` starts with an allowed name and
    is none of PyTorch's classes.

    Raises:
        UserError: Not a dotted path, outside the allowed packages, not importable, not a class.
    """
    from hydra.utils import get_object

    allowed = allowed_packages()
    if not isinstance(target, str) or not target.startswith(allowed):
        raise UserError(_refusal(target, allowed))
    try:
        found = get_object(target)
    except Exception as error:
        reason = str(error.__cause__ or error).splitlines()[0]
        raise UserError(f"cannot import {target!r}: {reason}") from error
    if not inspect.isclass(found) or not f"{found.__module__}.".startswith(allowed):
        raise UserError(f"{target!r} is not a class of the packages a config may build from")
    return found


def targets_in(node: Any) -> Iterator[str]:
    """Yield every ``_target_`` in a plain config tree, however deep."""
    if isinstance(node, Mapping | DictConfig):
        if "_target_" in node:
            yield node["_target_"]
        for value in node.values():
            yield from targets_in(value)
    elif isinstance(node, list | tuple | ListConfig):
        for value in node:
            yield from targets_in(value)


def allowed_packages() -> tuple[str, ...]:
    """Return the allowed prefixes, a user's own from ``USERLLM_ALLOW`` included."""
    own = os.environ.get("USERLLM_ALLOW", "").replace(",", " ").split()
    return (*PACKAGES, *(f"{name.rstrip('.')}." for name in own))


def _refusal(target: Any, allowed: tuple[str, ...]) -> str:
    package = str(target).partition(".")[0]
    return (
        f"_target_ {target!r} is outside the allowed packages ({', '.join(allowed)}); "
        f"if you trust it, type USERLLM_ALLOW={package} before the command"
    )
