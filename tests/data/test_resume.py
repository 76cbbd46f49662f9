"""A broken download goes on where it stopped, and never mixes two files."""

import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from userllm.data.download import connection_problem, fetch, fetch_or_explain
from userllm.errors import UserError

CONTENT = bytes(range(256)) * 4096


class Site:
    """A web server on this machine that breaks connections when it is told to."""

    def __init__(self):
        self.content, self.tag, self.knows_ranges = CONTENT, '"v1"', True
        self.breaks_after: list[int] = []
        self.asked: list[str | None] = []
        self.status: int | None = None

    def answer(self, handler):
        wanted = handler.headers.get("Range")
        if handler.command == "GET":
            self.asked.append(wanted)
        if self.status is not None:
            handler.send_error(self.status)
            return
        start = 0
        if wanted and self.knows_ranges and handler.headers.get("If-Range") == self.tag:
            start = int(wanted.removeprefix("bytes=").rstrip("-"))
        if start and start >= len(self.content):
            handler.send_response(416)
            handler.send_header("Content-Range", f"bytes */{len(self.content)}")
            handler.send_header("Content-Length", "0")
            handler.end_headers()
            return
        rest = self.content[start:]
        handler.send_response(206 if start else 200)
        handler.send_header("Content-Length", str(len(rest)))
        if self.tag:
            handler.send_header("ETag", self.tag)
        handler.end_headers()
        if handler.command == "GET":
            handler.wfile.write(rest[: self.breaks_after.pop(0)] if self.breaks_after else rest)


@pytest.fixture
def site(socket_enabled):
    """Nothing outside of this machine is asked."""
    site = Site()

    class Handler(BaseHTTPRequestHandler):
        do_GET = do_HEAD = lambda self: site.answer(self)

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    site.url = f"http://127.0.0.1:{server.server_port}/reviews.json.gz"
    yield site
    server.shutdown()
    thread.join()
    server.server_close()


def leftovers(folder):
    return sorted(path.name for path in folder.iterdir() if path.name != "reviews.json.gz")


def test_file_arrives_whole_and_is_not_fetched_again(site, tmp_path):
    for _ in range(2):
        assert fetch_or_explain(site.url, tmp_path, "").read_bytes() == CONTENT
    assert site.asked == [None]
    assert not leftovers(tmp_path)


def test_broken_connection_goes_on_where_it_stopped(site, tmp_path):
    site.breaks_after = [300_000, 200_000]
    assert fetch(site.url, None, tmp_path).read_bytes() == CONTENT
    assert site.asked == [None, "bytes=300000-", "bytes=500000-"]
    assert not leftovers(tmp_path)


def test_next_command_goes_on_where_the_last_one_stopped(site, tmp_path):
    site.breaks_after = [300_000, 0]
    with pytest.raises(UserError, match=r"300,000 bytes are kept.*goes on from there.*type this"):
        fetch_or_explain(site.url, tmp_path, "type this")
    assert not (tmp_path / "reviews.json.gz").exists()
    assert fetch_or_explain(site.url, tmp_path, "").read_bytes() == CONTENT
    assert site.asked[-1] == "bytes=300000-"


@pytest.mark.parametrize("change", ["another file", "no ranges", "no tag"])
def test_nothing_is_mixed_when_the_rest_cannot_be_had(change, site, tmp_path):
    site.breaks_after = [300_000, 0]
    if change == "no tag":
        site.tag = ""
    with pytest.raises(OSError, match="bytes are kept"):
        fetch(site.url, None, tmp_path)
    site.knows_ranges = change != "no ranges"
    if change == "another file":
        site.content, site.tag = CONTENT[::-1], '"v2"'
    assert fetch(site.url, None, tmp_path).read_bytes() == site.content


def test_whole_file_that_was_not_put_in_place_is_not_fetched_again(site, tmp_path):
    (tmp_path / ".reviews.json.gz.part").write_bytes(CONTENT)
    (tmp_path / ".reviews.json.gz.part.tag").write_text(site.tag)
    assert fetch(site.url, None, tmp_path).read_bytes() == CONTENT
    assert site.asked == [f"bytes={len(CONTENT)}-"]


def test_longer_leftover_is_thrown_away(site, tmp_path):
    (tmp_path / ".reviews.json.gz.part").write_bytes(CONTENT * 2)
    (tmp_path / ".reviews.json.gz.part.tag").write_text(site.tag)
    assert fetch(site.url, None, tmp_path).read_bytes() == CONTENT


def test_file_that_is_not_the_pinned_one_is_refused_and_not_kept(site, tmp_path):
    with pytest.raises(UserError, match="is not the expected file"):
        fetch(site.url, "0" * 32, tmp_path)
    assert not list(tmp_path.iterdir())


def test_missing_file_is_reported_at_once(site, tmp_path):
    site.status = 404
    assert "404" in connection_problem(site.url, 5)
    with pytest.raises(UserError, match=r"cannot be downloaded \(.*404.*\)\. type this"):
        fetch_or_explain(site.url, tmp_path, "type this")
    with pytest.raises(OSError, match="404"):
        fetch(site.url, None, tmp_path)
