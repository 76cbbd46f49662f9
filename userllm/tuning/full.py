"""Full: language model, encoder and projections all learn (paper §3.2)."""

import torch

from userllm.context.model import UserLLM
from userllm.errors import UserError
from userllm.tuning.parts import PARTS, train_only


class Full:
    """Let every parameter learn."""

    name = "full"

    def apply(self, model: UserLLM) -> None:
        """Unfreeze everything.

        Raises:
            UserError: The language model is in half precision, which rounds small steps away.
        """
        if model.lm.dtype.itemsize < torch.float32.itemsize:
            kind = str(model.lm.dtype).removeprefix("torch.")
            raise UserError(
                f"tuning=full with lm.dtype={kind}: most steps are smaller than the weights' "
                "rounding. Expected float32; type lm.dtype=float32 trainer.precision=bf16-mixed, "
                "or tuning=lora, whose own weights are float32."
            )
        train_only(model, set(PARTS))
