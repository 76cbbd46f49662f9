"""Download large files so that a broken connection costs only what was missing.

pooch's own downloader writes to a temporary file that is gone after an error and never asks a
server for the rest of a file, so this one takes its place inside ``pooch.retrieve``.
"""

import os
import urllib.error
import urllib.request
from collections.abc import Callable
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import Any

ATTEMPTS = 5
SECONDS_WITHOUT_DATA = 60.0
CHUNK_BYTES = 1 << 20


class ResumingDownloader:
    """Goes on where the last attempt stopped, in this process or in an earlier one.

    The bytes so far are in ``<part>``. What identifies the file on the server is in ``<part>.tag``:
    when it changed there, or when the server has no way to tell, the download starts again.

    Args:
        part: Where the unfinished file is kept.
        on_progress: Called with (bytes so far, bytes of the file or None).
    """

    def __init__(self, part: Path, on_progress: Callable[[int, int | None], None]) -> None:
        self.part = part
        self.tag = part.with_name(f"{part.name}.tag")
        self.on_progress = on_progress

    def __call__(self, url: str, output_file: str, pooch: Any) -> None:
        """Download ``url`` to ``output_file``; pooch calls this.

        Raises:
            OSError: The server refuses, or the connection broke again and again without progress.
        """
        for attempt in range(1, ATTEMPTS + 1):
            before = self._size()
            try:
                self._fetch_rest(url)
                break
            except urllib.error.HTTPError:
                raise
            except (OSError, HTTPException) as error:
                if attempt == ATTEMPTS or self._size() <= before:
                    raise OSError(f"{error}; {self._size():,} bytes are kept") from error
        os.replace(self.part, output_file)
        self.tag.unlink(missing_ok=True)

    def _size(self) -> int:
        return self.part.stat().st_size if self.part.is_file() else 0

    def _fetch_rest(self, url: str) -> None:
        have, tag = self._size(), self.tag.read_text() if self.tag.is_file() else ""
        wanted = {"Range": f"bytes={have}-", "If-Range": tag} if have and tag else {}
        request = urllib.request.Request(url, headers={"Accept-Encoding": "identity", **wanted})
        try:
            response: HTTPResponse = urllib.request.urlopen(request, timeout=SECONDS_WITHOUT_DATA)
        except urllib.error.HTTPError as error:
            # Nothing comes after the last byte: the file was whole already.
            if error.code == 416 and error.headers.get("Content-Range") == f"bytes */{have}":
                return
            if error.code != 416:
                raise
            self.tag.unlink()  # what is here is no beginning of the file: ask for all of it
            self._fetch_rest(url)
            return
        with response:
            if response.status != 206:
                self._start_again(response)
            self._append(response)

    def _start_again(self, response: HTTPResponse) -> None:
        self.part.write_bytes(b"")
        strong = (response.headers.get("ETag"), response.headers.get("Last-Modified"))
        tag = next((tag for tag in strong if tag and not tag.startswith("W/")), "")
        self.tag.write_text(tag)

    def _append(self, response: HTTPResponse) -> None:
        size, length = self._size(), response.headers.get("Content-Length")
        total = None if length is None else size + int(length)
        with self.part.open("ab") as file:
            while chunk := response.read(CHUNK_BYTES):
                file.write(chunk)
                size += len(chunk)
                self.on_progress(size, total)
        if total is not None and size != total:
            raise OSError(f"the connection ended after {size:,} of {total:,} bytes")
