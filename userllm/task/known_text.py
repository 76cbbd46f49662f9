"""What a language model's trunk makes of texts that repeat: questions, and answers behind them.

It does not depend on the user, so it is computed once, when it is first needed, and training,
ranking and serving start above the trunk. Exact: the same products with the same weights.

Shape suffixes: B batch, T prompt tokens, K nodes per row, N trie nodes, C nodes of one piece,
S cached positions, D text width.
"""

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from transformers import Cache, DynamicCache

from userllm.context.model import TokenBatch, UserLLM
from userllm.context.places import attention_biases
from userllm.context.trunk import Trunk
from userllm.task.piece import PIECE, piece_inputs
from userllm.task.protocol import Ints
from userllm.task.trie import Piece, Trie


@dataclass
class _Prompt:
    """One prompt: its states, the trunk's keys and values of it, and the nodes behind it."""

    states_TD: Tensor
    cache: Cache
    nodes_ND: Tensor
    is_read: Ints


class KnownTexts:
    """The known text of one exam, for whichever model is asked.

    Args:
        trie: All answers; an empty one where answers are not read.
    """

    def __init__(self, trie: Trie) -> None:
        self.trie = trie
        self._text: KnownText | None = None

    def read(self, model: UserLLM, prompt: TokenBatch) -> "KnownBatch | None":
        """Return what is known of a batch of prompts; None for a model without a trunk."""
        if model.trunk is None or model.lm.training:
            return None
        asked = (model, prompt.ids_BT.device)
        if self._text is None or (self._text.model, self._text.device) != asked:
            self._text = KnownText(model, model.trunk, self.trie, prompt.ids_BT.device)
        return self._text.read(prompt)


class KnownText:
    """States of the prompts of one exam and of its answers, for one model.

    Answers are kept in memory-mapped scratch files, one per prompt, which grow as answers are
    needed; they are as large as nodes x width, 15 MB for the titles of MovieLens-100K before
    SmolLM2-135M. ``TMPDIR`` says where; they go with this object.

    Args:
        model: The joined model; has a trunk.
        trunk: That trunk.
        trie: All answers.
        device: Where the model is.
    """

    def __init__(self, model: UserLLM, trunk: Trunk, trie: Trie, device: torch.device) -> None:
        self.model, self.trunk, self.trie, self.device = model, trunk, trie, device
        self._scratch = tempfile.TemporaryDirectory(prefix="userllm-", ignore_cleanup_errors=True)
        self._prompts: dict[bytes, _Prompt] = {}

    def read(self, prompt: TokenBatch) -> "KnownBatch":
        """Return what is known of a batch of prompts; new ones are read."""
        return KnownBatch(
            self, [self._prompt(row) for row in _rows(prompt)], prompt.ids_BT.shape[1]
        )

    def fill(self, prompt: _Prompt, nodes: Ints) -> None:
        """Read those of the nodes behind a prompt that nobody needed before, in whole pieces."""
        place = np.searchsorted(self.trie.inner, nodes[~self.trie.is_leaf_N[nodes]])
        for number in np.unique(place // PIECE):
            if not prompt.is_read[number]:
                self._read_piece(prompt, self.trie.piece(int(number), PIECE))
                prompt.is_read[number] = True

    def _prompt(self, ids_T: Tensor) -> _Prompt:
        key = ids_T.cpu().numpy().tobytes()
        if key not in self._prompts:
            self._prompts[key] = self._read_prompt(ids_T)
        return self._prompts[key]

    @torch.inference_mode(False)
    @torch.no_grad()
    def _read_prompt(self, ids_T: Tensor) -> _Prompt:
        cache = DynamicCache()
        ids_1T = ids_T.clone()[None]
        states_1TD = self.trunk.states(
            input_ids=ids_1T,
            attention_mask=torch.ones_like(ids_1T),
            position_ids=torch.arange(len(ids_T), device=ids_T.device)[None],
            cache=cache,
            use_cache=True,
        )
        pieces = -(-len(self.trie.inner) // PIECE)
        is_read = np.zeros(pieces, dtype=np.int64)
        return _Prompt(states_1TD[0], cache, self._file(states_1TD), is_read)

    def _file(self, states_1TD: Tensor) -> Tensor:
        """Return zeros ``[N, D]`` in a file of their own."""
        nodes, width = len(self.trie.token_N), states_1TD.shape[2]
        if not nodes:
            return torch.zeros(0, width, dtype=states_1TD.dtype)
        file = Path(self._scratch.name) / f"{len(self._prompts)}.bin"
        return torch.from_file(
            str(file), shared=True, size=nodes * width, dtype=states_1TD.dtype
        ).view(nodes, width)

    @torch.inference_mode(False)
    @torch.no_grad()
    def _read_piece(self, prompt: _Prompt, piece: Piece) -> None:
        states_TD = prompt.states_TD
        given = piece_inputs(self.trie, piece, torch.ones_like(states_TD[None, :, 0]).bool())
        states_1CD = self.trunk.states(
            input_ids=given.ids_BC,
            attention_mask=attention_biases(
                self.model.lm, given.mask_B1CS, given.at_BC, given.keys_at_BS
            ),
            position_ids=given.at_BC,
            cache=prompt.cache,
            use_cache=True,
        )
        prompt.cache.crop(-len(piece.nodes_C))
        prompt.nodes_ND[torch.from_numpy(piece.nodes_C)] = states_1CD[0].cpu()


class KnownBatch:
    """What is known of the prompts of a batch.

    Args:
        text: Where it is kept.
        prompts: One entry per row.
        columns: Width of the padded prompts.
    """

    def __init__(self, text: KnownText, prompts: list[_Prompt], columns: int) -> None:
        self.text, self.prompts, self.columns = text, prompts, columns

    def prompt(self) -> Tensor:
        """Return the states of the prompts ``[B, T, D]``, padded on the left with zeros."""
        first = self.prompts[0].states_TD
        states_BTD = first.new_zeros(len(self.prompts), self.columns, first.shape[1])
        for row, prompt in enumerate(self.prompts):
            states_BTD[row, self.columns - len(prompt.states_TD) :] = prompt.states_TD
        return states_BTD

    def nodes(self, nodes_BK: Tensor) -> Tensor:
        """Return the states ``[B, K, D]`` of trie nodes behind each row's prompt; 0 for leaves."""
        nodes = nodes_BK.cpu().numpy()
        rows = [self._row(prompt, nodes[row]) for row, prompt in enumerate(self.prompts)]
        return torch.stack(rows).to(nodes_BK.device)

    def _row(self, prompt: _Prompt, nodes_K: Ints) -> Tensor:
        self.text.fill(prompt, nodes_K)
        return prompt.nodes_ND[torch.from_numpy(nodes_K)]


def _rows(prompt: TokenBatch) -> list[Tensor]:
    """Return the tokens of each row without padding."""
    return [ids_T[mask_T] for ids_T, mask_T in zip(prompt.ids_BT, prompt.mask_BT, strict=True)]
