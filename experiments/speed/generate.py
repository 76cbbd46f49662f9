"""Measure ranking by title likelihood: our beam search against transformers' ``generate``.

Both search the titles of MovieLens-100K with the same width, the same language model (SmolLM2),
prompts and user vectors, and score a title by the same log-likelihood. transformers keeps to the
titles through ``prefix_allowed_tokens_fn``; among siblings its ``renormalize_logits`` makes that
the same likelihood, and it too may end where no choice follows. Weights of the cross-attention
are random with gates half open: cost does not depend on them, and results have to be the same
for any.

Ours reads weights packed, as runs do (`userllm.lm.packed`). The bar is against ``generate`` as it
comes; a second row gives it the packed weights too. Ten beams are few: studies take 300, of which
``generate`` would read the prompt 300 times. A second, wider search shows what becomes of that.

Usage: python experiments/speed/generate.py [--out FILE.json] [--threads N] [--users N]
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
from userllm.lm.packed import pack
from userllm.run.assembly import Assembly, assemble
from userllm.task.batch import QuestionBatch
from userllm.task.ranking import RankingExam
from userllm.task.scorer import TitleScorer
from userllm.training.processes import set_up_process

LEAST, SAME = 10.0, 1e-3
WIDTHS = (10, 50)
RIVALS = {"generate": LEAST, "generate with packed weights": None}
"""How many times faster ours has to be than each, where there is a bar."""
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
    options = record.arguments(__doc__, users=4, repeats=2)
    set_up_process(options.threads)
    rows = []
    with tempfile.TemporaryDirectory(prefix="userllm-speed-") as temporary:
        for name, words in WAYS.items():
            rows += measure(name, [*words, f"paths.runs={temporary}"], options)
    record.write(options.out, "title likelihood: beam search against transformers' generate", rows)


def measure(name: str, words: list[str], options: Any) -> list[record.Row]:
    """Time all ways in turn on the same users at each width, and compare what they find."""
    plain, packed = (prepared(words) for _ in range(2))
    pack([packed.model])
    exam, _ = exam_of(packed)
    asked = packed.questions(exam, "test", options.users)
    batch = exam.reader(asked.users, asked.cuts)
    rivals = zip(RIVALS, (partial(theirs, plain), partial(theirs, packed)), strict=True)
    ways = {"ours": partial(ours, packed), **dict(rivals)}
    rows = []
    for beams in WIDTHS:
        times: dict[str, list[float]] = {way: [] for way in ways}
        found: dict[str, Found] = {}
        # What is kept between users is made while nobody looks at the clock.
        ours(packed, batch, beams)
        for _ in range(options.repeats):
            for way, search in ways.items():
                found[way], seconds = timed(search, batch, beams)
                times[way].append(seconds)
        rates = {way: options.users / min(seconds) for way, seconds in times.items()}
        more = {"n": options.repeats, "users": options.users, "beams": beams}
        rows += compared(f"{name}, {beams} beams", rates, found, more)
    return rows


def prepared(words: list[str]) -> Assembly:
    """Return what a run would ask, with a model that answers."""
    loaded = load("contextualize", [*CONFIG, *words])
    assembly = assemble(loaded.config, loaded.choices)
    assembly.model.eval()
    open_gates(assembly.model)
    return assembly


def exam_of(assembly: Assembly) -> tuple[RankingExam, TitleScorer]:
    """Return the only exam and what ranks in it."""
    (exam,) = assembly.exams
    assert isinstance(exam, RankingExam)
    assert isinstance(exam.ranker, TitleScorer)
    return exam, exam.ranker


def compared(
    name: str, rates: dict[str, float], found: dict[str, Found], more: dict[str, Any]
) -> list[record.Row]:
    """Return users per second of each way, ours over the others, and whether they agree."""
    rows = [
        record.row(f"{name}: users/s of {way}", rate, "users/s", **more)
        for way, rate in rates.items()
    ]
    for way, least in RIVALS.items():
        ratio = rates["ours"] / rates[way]
        rows.append(record.row(f"{name}: over {way}", ratio, "x", at_least=least, **more))
    pairs = [pair for way in RIVALS for pair in zip(found["ours"], found[way], strict=True)]
    apart = max(
        abs(mine[leaf] - his[leaf]) for mine, his in pairs for leaf in mine.keys() & his.keys()
    )
    best = [same_best(mine, his) for mine, his in pairs]
    return [
        *rows,
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


def ours(assembly: Assembly, batch: QuestionBatch, beams: int) -> Found:
    """Search with the scorer that runs use."""
    exam, ranker = exam_of(assembly)
    ranker.beams = beams
    scores_BA: Tensor = exam.answer(assembly.model, batch)
    leaf_A = ranker.answers.trie.leaf_A
    reached = (scores_BA > -torch.inf).nonzero().tolist()
    found: Found = [{} for _ in range(len(scores_BA))]
    for user, answer in reached:
        found[user][int(leaf_A[answer])] = float(scores_BA[user, answer])
    return found


def theirs(assembly: Assembly, batch: QuestionBatch, beams: int) -> Found:
    """Search with transformers, which is told at each step which tokens may follow."""
    model: Any = assembly.model
    answers = exam_of(assembly)[1].answers
    trie = answers.trie
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
            renormalize_logits=answers.softmax == "siblings",
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
