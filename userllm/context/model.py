"""A user encoder, a context and a language model joined into one model.

Shape suffixes: B batch, P prefix positions, T text tokens, A answer tokens, S all positions,
D text width, E user width, V vocabulary or the chosen tokens of it, I item ids.
"""

from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import Cache, DynamicCache, GenerationConfig, PreTrainedModel

from userllm.context.encoder_prior import EncoderPrior
from userllm.context.item_head import ItemHead
from userllm.context.memory import kept_vectors, last_vectors
from userllm.context.output_layer import OutputLayer
from userllm.context.places import attention_biases, positions
from userllm.context.protocol import Context
from userllm.context.trunk import Trunk
from userllm.cost.flops import Count
from userllm.data.gather import EventBatch
from userllm.encoder.memory import UserMemory
from userllm.encoder.protocol import UserEncoder
from userllm.memory.protocol import Memory
from userllm.memory.states import States


@dataclass
class TokenBatch:
    """Token ids with a mask: prompts are padded on the left, answers on the right.

    So an answer starts in the same column for every user, and logits are needed only from there.
    """

    ids_BT: Tensor
    mask_BT: Tensor

    def to(self, device: torch.device) -> "TokenBatch":
        """Return the batch on a device."""
        return TokenBatch(self.ids_BT.to(device), self.mask_BT.to(device))

    def distinct(self) -> tuple["TokenBatch", Tensor]:
        """Return each different text once, and which of them every row is ``[B]``."""
        both_BT = torch.stack([self.ids_BT, self.mask_BT.to(self.ids_BT.dtype)], dim=-1)
        texts, row_B = both_BT.unique(dim=0, return_inverse=True)
        return TokenBatch(texts[..., 0], texts[..., 1].to(self.mask_BT.dtype)), row_B


@dataclass
class Prefill:
    """What reading a prompt leaves behind: the key/value cache, its mask, the last position."""

    cache: Cache
    mask_BS: Tensor
    logits_BV: Tensor


class UserLLM(nn.Module):
    """A language model that answers questions about a user.

    Args:
        lm: The language model; its modules and checkpoint keys stay its own.
        context: How the user reaches it.
        encoder: Makes user vectors; None for contexts without memory.
        item_head: Ranks the catalogue from the last prompt position; None without that scorer.
        memory: Which vectors the context is given of a user; None is the encoder's own.
        prior: How spelled answers start from the encoder's ranking; None where none does.

    Attributes:
        trunk: The blocks that need not read a repeated text again; None where all must. The
            methods that read text take ``above_BSD``, what the trunk made of it, and leave the
            trunk out then.
    """

    def __init__(
        self,
        *,
        lm: PreTrainedModel,
        context: Context,
        encoder: UserEncoder | None,
        item_head: ItemHead | None,
        memory: Memory | None = None,
        prior: EncoderPrior | None = None,
    ) -> None:
        super().__init__()
        self.lm = lm
        self.context = context
        self.encoder = encoder
        self.item_head = item_head
        self.memory: Memory = States() if memory is None else memory
        self.prior = prior
        self.output_layer = OutputLayer(lm)
        self.trunk: Trunk | None = None
        self._bound: UserMemory | None = None
        context.attach(lm)
        self.memory.attach(lm)

    def read_user(self, events: EventBatch, answer_B: Tensor | None = None) -> UserMemory | None:
        """Return what the context reads of a batch of histories; None where it reads nothing.

        Args:
            events: The histories.
            answer_B: See ``UserEncoder.item_scores``: where one learns to name the next item.
        """
        if self.encoder is None:
            return self.context.compress(None, events)
        encoded = last_vectors(self.encoder(events), self.context.memory_events)
        read = self.context.compress(self.memory(encoded, events, self.encoder), events)
        if self.start is not None and read is not None:
            state_BE = encoded.state_for(self.start)
            with torch.autocast(state_BE.device.type, enabled=False):
                # As exact in training in half precision as in scoring.
                state_BE = state_BE.to(self.encoder.item_bias.dtype)
                read.scores_BI = self.encoder.item_scores(state_BE, events, answer_B).float()
        return read

    @property
    def start(self) -> str | None:
        """The option that has answers start from the encoder's ranking, where one does."""
        if self.prior is not None:
            return "task.encoder_prior=true"
        by_head = self.item_head is not None and self.item_head.skip
        return "task.encoder_skip=true" if by_head else None

    def given(self, events: Count) -> Count:
        """Return how many vectors the context is given for so many events."""
        if self.encoder is None:
            return events
        states = kept_vectors(self.encoder.vectors(events), self.context.memory_events)
        return self.memory.vectors(states)

    def answer_logits(
        self,
        memory: UserMemory | None,
        prompt: TokenBatch,
        answer: TokenBatch,
        *,
        tokens_V: Tensor | None = None,
        above_BSD: Tensor | None = None,
    ) -> Tensor:
        """Return the logits ``[B, A, V]`` that predict each answer token, and no others.

        Args:
            memory: What is read of the users.
            prompt: Prompts, padded on the left.
            answer: Answers, padded on the right.
            tokens_V: Tokens to give logits for; None is the whole vocabulary.
            above_BSD: What arrives above the trunk, of prompt and answer; None reads them.
        """
        prompt_BSD, prompt_mask_BS = self._embed(memory, prompt)
        answer_BAD = self.lm.get_input_embeddings()(answer.ids_BT)
        embeds_BSD = torch.cat([prompt_BSD, answer_BAD], dim=1)
        mask_BS = torch.cat([prompt_mask_BS, answer.mask_BT], dim=1)
        answer_length = answer.ids_BT.shape[1]
        output = self._read(
            above_BSD,
            tokens_V,
            inputs_embeds=embeds_BSD,
            attention_mask=mask_BS.long(),
            position_ids=positions(mask_BS),
            logits_to_keep=answer_length + 1,
            use_cache=False,
        )
        logits_BAV: Tensor = output.logits[:, :-1]
        return logits_BAV

    def prefill(
        self,
        memory: UserMemory | None,
        prompt: TokenBatch,
        *,
        tokens_V: Tensor | None = None,
        above_BSD: Tensor | None = None,
    ) -> Prefill:
        """Read a prompt once; :meth:`extend` continues from what it returns."""
        embeds_BSD, mask_BS = self._embed(memory, prompt)
        output = self._read(
            above_BSD,
            tokens_V,
            inputs_embeds=embeds_BSD,
            attention_mask=mask_BS.long(),
            position_ids=positions(mask_BS),
            # Without a config the cache keeps every position, also for sliding windows: the mask
            # decides what is seen, and the cache can be cut back to the prompt.
            cache=DynamicCache(),
            logits_to_keep=1,
            use_cache=True,
        )
        return Prefill(output.cache, mask_BS, output.logits[:, -1])

    def extend(
        self,
        cache: Cache,
        ids_BT: Tensor,
        mask_B1TS: Tensor,
        at_BT: Tensor,
        keys_at_BS: Tensor,
        *,
        tokens_V: Tensor | None = None,
        above_BSD: Tensor | None = None,
    ) -> Tensor:
        """Return logits ``[B, T, V]`` of tokens that follow the cache under a mask of their own.

        Args:
            cache: Keys and values so far; grows by T.
            ids_BT: Tokens, not necessarily one sequence: a level or a piece of a tree.
            mask_B1TS: True where a token may look, over the cache and the T new tokens.
            at_BT: Position of each token.
            keys_at_BS: Position of everything in the cache and of the new tokens.
            tokens_V: Tokens to give logits for; None is the whole vocabulary.
            above_BSD: What arrives above the trunk, of the new tokens.
        """
        output = self._read(
            above_BSD,
            tokens_V,
            input_ids=ids_BT,
            attention_mask=attention_biases(self.lm, mask_B1TS, at_BT, keys_at_BS),
            position_ids=at_BT,
            cache=cache,
            use_cache=True,
        )
        logits_BTV: Tensor = output.logits
        return logits_BTV

    def generate(
        self, memory: UserMemory | None, prompt: TokenBatch, rule: GenerationConfig
    ) -> Tensor:
        """Return the tokens ``[B, A]`` that continue each prompt; end token and padding come last.

        Args:
            memory: What is read of the users; its keys and values are computed once.
            prompt: Prompts, padded on the left.
            rule: How to write; ``userllm.context.writing.writing_rule`` makes it.
        """
        embeds_BSD, mask_BS = self._embed(memory, prompt)
        lm: Any = self.lm  # that it can generate is not in the type
        tokens_BA: Tensor = lm.generate(
            inputs_embeds=embeds_BSD, attention_mask=mask_BS.long(), generation_config=rule
        )
        return tokens_BA

    def item_scores(
        self, memory: UserMemory | None, prompt: TokenBatch, *, above_BSD: Tensor | None = None
    ) -> Tensor:
        """Return one score per item id ``[B, I]`` from the last prompt position."""
        if self.item_head is None:
            raise RuntimeError("this model was built without an item head")
        embeds_BSD, mask_BS = self._embed(memory, prompt)
        with self._above(above_BSD):
            output = self.lm.base_model(
                inputs_embeds=embeds_BSD,
                attention_mask=mask_BS.long(),
                position_ids=positions(mask_BS),
                use_cache=False,
            )
        start_BI = None if memory is None else memory.scores_BI
        scores_BI: Tensor = self.item_head(output.last_hidden_state[:, -1], start_BI)
        return scores_BI

    def _embed(self, memory: UserMemory | None, text: TokenBatch) -> tuple[Tensor, Tensor]:
        """Bind the memory and return input vectors ``[B, S, D]`` with their mask."""
        self._bind(memory)
        embeds_BTD = self.lm.get_input_embeddings()(text.ids_BT)
        prefix = self.context.prefix(memory, text.ids_BT.shape[0])
        if prefix is None:
            return embeds_BTD, text.mask_BT
        prefix_BPD, prefix_mask_BP = prefix
        embeds_BSD = torch.cat([prefix_BPD.to(embeds_BTD.dtype), embeds_BTD], dim=1)
        mask_BS = torch.cat([prefix_mask_BP, text.mask_BT], dim=1)
        # Padding goes to the far left: sliding-window models count columns, not positions.
        order_BS = mask_BS.long().argsort(dim=1, stable=True)
        order_BSD = order_BS[:, :, None].expand_as(embeds_BSD)
        return embeds_BSD.gather(1, order_BSD), mask_BS.gather(1, order_BS)

    def _bind(self, memory: UserMemory | None) -> None:
        """Give the context a memory; what it made of one that is asked again is kept."""
        learning = torch.is_grad_enabled()
        if memory is None or learning or memory is not self._bound:
            self.context.bind(memory)
        self._bound = None if learning else memory

    def _read(self, above_BSD: Tensor | None, tokens_V: Tensor | None, **inputs: Any) -> Any:
        """Run the language model, above the trunk where that was read, for the tokens asked for."""
        with self._above(above_BSD), self.output_layer.limited_to(tokens_V):
            return self.lm(**inputs)

    def _above(self, above_BSD: Tensor | None) -> Any:
        return nullcontext() if self.trunk is None else self.trunk.left_out(above_BSD)
