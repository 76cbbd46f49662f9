"""A slid window: nothing dropped is nothing changed, what is dropped is not seen, order is kept."""

import numpy as np
import pytest
import torch

from userllm.config import load
from userllm.errors import UserError
from userllm.run.contestants import enter, entries
from userllm.run.sliding import Slider, sliding_cost
from userllm.task.protocol import Questions

CPU = torch.device("cpu")
WINDOW, DROPPED = 3, 2


def contestant(runs, method, task):
    shared = f"'size.users=60 history=6 {task}'"
    words = [f"methods=['{method}']", f"shared={shared}", f"paths.runs={runs}"]
    cfg = load("benchmark", words).config
    (one,) = enter(entries(cfg)[0], cfg, CPU)
    return one


TASKS = [
    "task=next_item task.scorer=beam task.beams=20",
    "task=next_item task.scorer=item_head",
    "task=favorite_category task.softmax=siblings",
]


@pytest.fixture(scope="module", params=TASKS)
def text(request, tmp_path_factory):
    runs = tmp_path_factory.getbasetemp() / "sliding"
    return contestant(runs, f"context=text_prompt context.text_events={WINDOW}", request.param)


def asked(one, count=4):
    rows = np.flatnonzero(one.asked.cuts > WINDOW + DROPPED)[:count]
    return one.asked.users[rows], one.asked.cuts[rows]


def test_a_window_that_was_just_written_scores_as_the_exam_does(text):
    users, cuts = asked(text)
    slider = Slider(text.assembly, text.exam, dropped=0)
    expected = text.exam.answer(text.model, text.exam.reader(users, cuts))
    for window in slider.prompts(users, cuts, CPU).values():
        with torch.inference_mode():
            found = slider.scores(window)
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


def test_what_left_the_window_is_hidden_and_the_rest_is_the_window(text):
    users, cuts = asked(text)
    slider = Slider(text.assembly, text.exam, dropped=DROPPED)
    fresh, slid = slider.prompts(users, cuts, CPU).values()
    long = slider.long(users, cuts)
    ids = torch.where(long.mask_BT, long.ids_BT, -1)
    for row in range(len(users)):
        seen = slid.stored.mask_BS[row]
        # The stored part ends where the question begins.
        about = ids[row][ids[row] >= 0][: int(slid.stored.next_B[row])]
        about = about[seen[len(seen) - len(about) :]]
        short = slider.short(users[row : row + 1], cuts[row : row + 1])
        assert about.tolist() == short.ids_BT[0, : int(fresh.stored.next_B[row])].tolist()
    assert (slid.skipped_B > 0).all()
    assert torch.equal(slid.stored.next_B - slid.skipped_B, fresh.stored.next_B)


def test_hidden_events_do_not_reach_the_answer(text):
    users, cuts = asked(text)
    slider = Slider(text.assembly, text.exam, dropped=DROPPED)
    slid = slider.prompts(users, cuts, CPU)["stored"]
    with torch.inference_mode():
        expected = slider.scores(slid)
        for keys, values in slid.stored.layers:
            hidden = ~slid.stored.mask_BS[:, None, :, None].expand_as(keys)
            keys.masked_fill_(hidden, 3.0)
            values.masked_fill_(hidden, -7.0)
        found = slider.scores(slid)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
    fresh = slider.prompts(users, cuts, CPU)["fresh"]
    with torch.inference_mode():
        # Early positions and what was read then do make a difference.
        assert not torch.allclose(slider.scores(fresh), expected, atol=1e-4)


def test_every_metric_has_both_sides_and_their_paired_change(text):
    users, cuts = asked(text, 7)
    questions = Questions(users, cuts, "")
    found, one_by_one = (
        sliding_cost(
            text.assembly, text.exam, questions, dropped=DROPPED, batch_size=size, device=CPU
        )
        for size in (4, 1)
    )
    assert found["n"] == 7
    for values in found["metrics"].values():
        change = values["stored"]["mean"] - values["fresh"]["mean"]
        assert values["change"]["mean"] == pytest.approx(change)
    assert found == one_by_one


def test_users_whose_window_does_not_slide_are_not_asked(text):
    users = text.asked.users[:2]
    questions = Questions(users, np.full(2, WINDOW), "")
    with pytest.raises(UserError, match="nobody has more than the 3 events"):
        sliding_cost(text.assembly, text.exam, questions, dropped=DROPPED, batch_size=2, device=CPU)


@pytest.mark.parametrize(
    ("method", "task", "said"),
    [
        ("context=cross_attention", TASKS[0], "expected a run of context=text_prompt"),
        ("context=text_prompt", "task=review", "writes its answers"),
    ],
)
def test_what_stores_no_text_or_writes_cannot_slide(tmp_path_factory, method, task, said):
    one = contestant(tmp_path_factory.getbasetemp() / "sliding", method, task)
    with pytest.raises(UserError, match=said):
        Slider(one.assembly, one.exam, dropped=1)
