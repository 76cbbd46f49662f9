"""``userllm prepare``: turn a dataset into a corpus with splits and a data card."""

from omegaconf import DictConfig
from rich.console import Console
from rich.table import Table

from userllm.build import build
from userllm.data.card import card_sections
from userllm.data.corpus import Corpus, write_corpus
from userllm.data.protocol import Dataset
from userllm.run.folder import RunFolder


def run(cfg: DictConfig, folder: RunFolder) -> None:
    """Read ``cfg.data`` and write ``<folder>/corpus``; print the data card."""
    dataset: Dataset = build(cfg.data)
    write_corpus(
        dataset.read(),
        name=dataset.name,
        min_user_events=dataset.min_user_events,
        min_item_events=dataset.min_item_events,
        folder=folder.path / "corpus",
    )
    corpus = Corpus.open(folder.path / "corpus")
    Console().print(card_table(corpus))
    environment = {"data_fingerprint": corpus.fingerprint, "data_name": dataset.name}
    folder.write_result({"outcomes": [], "examples": [], "environment": environment})


def card_table(corpus: Corpus) -> Table:
    """Return the data card as a table for the terminal."""
    table = Table(title=f"Data card: {corpus.card['name']}", show_header=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for title, rows in card_sections(corpus.card):
        table.add_section()
        table.add_row(title, style="cyan")
        for key, value in rows:
            table.add_row(key, value)
    return table
