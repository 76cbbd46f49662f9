"""What a language model is given to read a piece of a trie behind prompts that it has read.

Shape suffixes: B batch, C nodes of one piece, S positions of prompt and piece.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from userllm.context.places import positions
from userllm.task.trie import Piece, Trie

PIECE = 256
"""Trie nodes that are read together: enough rows for products at full speed."""


@dataclass(frozen=True)
class PieceInputs:
    """A piece behind every prompt of a batch; each node sees the prompt and its own ancestors.

    Attributes:
        nodes_BC: Node numbers.
        ids_BC: Their tokens.
        mask_B1CS: True where a node may look.
        at_BC: Position of each node.
        keys_at_BS: Position of everything that can be seen.
    """

    nodes_BC: Tensor
    ids_BC: Tensor
    mask_B1CS: Tensor
    at_BC: Tensor
    keys_at_BS: Tensor


def piece_inputs(trie: Trie, piece: Piece, prompt_mask_BS: Tensor) -> PieceInputs:
    """Return the inputs of a piece behind prompts with this mask."""
    device, batch = prompt_mask_BS.device, len(prompt_mask_BS)
    nodes_C = torch.from_numpy(piece.nodes_C).to(device)
    visible_CC = torch.from_numpy(piece.visible_CC).to(device)
    prompt_BCS = prompt_mask_BS[:, None, :].expand(-1, len(nodes_C), -1)
    depth_C = torch.from_numpy(trie.depth_N[piece.nodes_C]).to(device)
    at_BC = prompt_mask_BS.sum(dim=1, keepdim=True) + depth_C
    return PieceInputs(
        nodes_BC=nodes_C.expand(batch, -1),
        ids_BC=torch.from_numpy(trie.token_N[piece.nodes_C]).to(device).expand(batch, -1),
        mask_B1CS=torch.cat([prompt_BCS, visible_CC.expand(batch, -1, -1)], dim=2)[:, None],
        at_BC=at_BC,
        keys_at_BS=torch.cat([positions(prompt_mask_BS), at_BC], dim=1),
    )
