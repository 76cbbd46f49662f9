"""Measure ranking by title likelihood: our beam search against transformers' ``generate``.

Both search the titles of MovieLens-100K with the same width, the same language model (SmolLM2),
prompts and user vectors, and score a title by the same log-likelihood. transformers keeps to the
titles through ``prefix_allowed_tokens_fn``; among siblings its ``renormalize_logits`` makes that
the same likelihood, and it too may end where no choice follows. Weights of the cross-attention
are random with gates half open: cost does not depend on them, and results have to be the same
for any.

Usage: python experiments/speed/generate.py [--out FILE.json] [--threads N] [--users N] [--beams N]
"""

import tempfile
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import record
import torch
from torch import Tensor, nn

from userllm.config import load
from userllm.run.assembly import Assembly, assemble
from userllm.task.batch import QuestionBatch
from userllm.task.ranking import RankingExam

LEAST, SAME = 10.0, 1e-3
CONFIG = (
    "data=movielens_100k",
    "lm=smollm2_135m",
    "task=next_item",
    "task.scorer=beam",
    "task.overlap_users=0",
    "encoder.checkpoint=null",
    "size=small",
)
TOP = ["context=cross_attention", "context.layers=5"]
WAYS = {
    "cross-attention in the top 5 blocks": [*TOP, "task.softmax=siblings"],
    "the same, whole vocabulary": [*TOP, "task.softmax=vocabulary"],
    "10 events as text": [
        "context=text_prompt",
        "context.text_events=10",
        "task.softmax=siblings",
    ],
}
Found = list[dict[int, float]]
"""Per user: leaf of the titles' trie to its log-likelihood."""


def main() -> None:
    """Measure both ways of giving the history, and write the rows."""
    options = record.arguments(__doc__, users=4, beams=10, repeats=2)
    torch.set_num_threads(options.threads)
    rows = []
    with tempfile.TemporaryDirectory(prefix="userllm-speed-") as temporary:
        for name, words in WAYS.items():
            rows += measure(name, [*words, f"paths.runs={temporary}"], options)
    record.write(options.out, "title likelihood: beam search against transformers' generate", rows)


def measure(name: str, words: list[str], options: Any) -> list[record.Row]:
    """Time both searches in turn on the same users, and compare what they find."""
    loaded = load("contextualize", [*CONFIG, f"task.beams={options.beams}", *words])
    assembly = assemble(loaded.config, loaded.choices)
    assembly.model.eval()
    open_gates(assembly.model)
    exam: Any = assembly.exams[0]
    asked = assembly.questions(exam, "test", options.users)
    batch = exam.reader(asked.users, asked.cuts)
    ways = {"ours": partial(ours, exam, assembly), "generate": partial(theirs, exam, assembly)}
    times: dict[str, list[float]] = {way: [] for way in ways}
    found: dict[str, Found] = {}
    # What is kept between users is made while nobody looks at the clock.
    ours(exam, assembly, batch, options.beams)
    for _ in range(options.repeats):
        for way, search in ways.items():
            found[way], seconds = timed(search, batch, options.beams)
            times[way].append(seconds)
    rates = {way: options.users / min(seconds) for way, seconds in times.items()}
    common = [mine.keys() & his.keys() for mine, his in zip(*found.values(), strict=True)]
    apart = max(
        abs(found["ours"][user][leaf] - found["generate"][user][leaf])
        for user, leaves in enumerate(common)
        for leaf in leaves
    )
    best = [same_best(mine, his) for mine, his in zip(*found.values(), strict=True)]
    more = {"n": options.repeats, "users": options.users, "beams": options.beams}
    return [
        record.row(f"{name}: users/s of ours", rates["ours"], "users/s", **more),
        record.row(f"{name}: users/s of generate", rates["generate"], "users/s", **more),
        record.row(
            f"{name}: ratio", rates["ours"] / rates["generate"], "x", at_least=LEAST, **more
        ),
        record.row(f"{name}: same best title", sum(best) / len(best), "share", at_least=1, **more),
        record.row(f"{name}: log-likelihoods apart", apart, "nats", at_most=SAME, **more),
    ]


def timed(search: Callable[[QuestionBatch, int], Found], batch: Any, beams: int) -> Any:
    """Return what a search finds and how many seconds it takes."""
    start = time.perf_counter()
    found = search(batch, beams)
    return found, time.perf_counter() - start


def same_best(mine: dict[int, float], his: dict[int, float]) -> bool:
    """Return whether the best titles are one, or as likely as each other."""
    first, second = max(mine, key=mine.__getitem__), max(his, key=his.__getitem__)
    return first == second or abs(mine[first] - his[second]) < SAME


def open_gates(model: nn.Module) -> None:
    """Let the user reach the language model as in a trained one."""
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if ".gates." in name:
                weight.fill_(0.5)


def ours(exam: RankingExam, assembly: Assembly, batch: QuestionBatch, beams: int) -> Found:
    """Search with the scorer that runs use."""
    scores_BA: Tensor = exam.answer(assembly.model, batch)
    leaf_A = exam.ranker.answers.trie.leaf_A  # type: ignore[attr-defined]
    reached = (scores_BA > -torch.inf).nonzero().tolist()
    found: Found = [{} for _ in range(len(scores_BA))]
    for user, answer in reached:
        found[user][int(leaf_A[answer])] = float(scores_BA[user, answer])
    return found


def theirs(exam: RankingExam, assembly: Assembly, batch: QuestionBatch, beams: int) -> Found:
    """Search with transformers, which is told at each step which tokens may follow."""
    model: Any = assembly.model
    trie = exam.ranker.answers.trie  # type: ignore[attr-defined]
    kids = {-1: {int(trie.token_N[n]): int(n) for n in trie.children(-1)}}
    for node in range(len(trie.token_N)):
        kids[node] = {int(trie.token_N[n]): int(n) for n in trie.children(node)}
    end = model.lm.config.eos_token_id

    def walk(tokens: list[int]) -> int:
        node = -1
        for token in tokens:
            node = kids[node][token]
            if not kids[node]:
                break
        return node

    def allowed(_user: int, tokens_T: Tensor) -> list[int]:
        return list(kids[walk(tokens_T.tolist())]) or [end]

    with torch.inference_mode():
        memory = model.read_user(batch.events)
        embeds_BSD, mask_BS = model._embed(memory, batch.prompt)
        output = model.lm.generate(
            inputs_embeds=embeds_BSD,
            attention_mask=mask_BS.long(),
            prefix_allowed_tokens_fn=allowed,
            num_beams=beams,
            num_return_sequences=beams,
            renormalize_logits=exam.ranker.answers.softmax == "siblings",
            max_new_tokens=int(trie.depth_N.max()) + 2,
            do_sample=False,
            length_penalty=0.0,
            early_stopping="never",
            output_scores=True,
            return_dict_in_generate=True,
            eos_token_id=end,
            pad_token_id=end,
        )
    found: Found = [{} for _ in range(len(mask_BS))]
    for row, (tokens, score) in enumerate(
        zip(output.sequences.tolist(), output.sequences_scores.tolist(), strict=True)
    ):
        found[row // beams][walk(tokens)] = score
    return found


if __name__ == "__main__":
    main()
