"""Rows of ready-made token segments."""

import numpy as np

from userllm.task.prompt import TokenTable


def test_rows_of_a_token_table_are_what_was_put_in() -> None:
    sequences = [[4, 5], [], [6], [7, 8, 9]]
    table = TokenTable(sequences)
    batch = table.joined(np.array([[0, 3, -1], [1, -1, 2]]))
    assert [ids[mask].tolist() for ids, mask in zip(batch.ids_BT, batch.mask_BT, strict=True)] == [
        [4, 5, 7, 8, 9],
        [6],
    ]
    assert not batch.mask_BT[1, 0]
    assert batch.mask_BT[1, -1]
