"""The example of docs/data.md runs as it is written there, with the file that is shown there."""

import re
from pathlib import Path

import pytest

from tests.docs.test_readme import BLOCK, commands, run
from userllm.data.corpus import Corpus

PAGE = (Path(__file__).parents[2] / "docs" / "data.md").read_text(encoding="utf-8")
FILE = re.compile(r"<!-- file: (\S+) -->\n+```csv\n(.*?)```", re.DOTALL)


@pytest.mark.timeout(240)
def test_own_data_become_a_corpus_as_shown(tmp_path):
    ((name, content),) = FILE.findall(PAGE)
    (tmp_path / name).write_text(content, encoding="utf-8")
    (block,) = BLOCK.findall(PAGE)
    (command,) = commands(block)
    assert "Called" in run(command, tmp_path)
    corpus = Corpus.open(next(tmp_path.glob("runs/prepare/*/corpus")))
    rows = content.strip().splitlines()[1:]
    assert corpus.offsets[-1] == len(rows)
    assert corpus.users["user"].to_list() == ["007", "008"]
    assert corpus.nouns == {"item": "place", "category": "category"}
    texts = corpus.texts(range(len(rows)))
    assert sorted(filter(None, texts)) == sorted(
        ["Quick and good.", "Nice bread, long queue.", "Too crowded.", "The best rolls."]
    )
