from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from anomaly.errors import StateError
from anomaly.fleet import sink
from anomaly.fleet.sink import Posting, pieces

Taken = list[tuple[str, bytes]]


class Receiver(HTTPServer):
    """Takes what is posted, or answers that it does not."""

    status = 200
    taken: Taken


class _Answers(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        server = self.server
        assert isinstance(server, Receiver)
        body = self.rfile.read(int(self.headers["Content-Length"]))
        server.taken.append((self.headers["Idempotency-Key"], body))
        self.send_response(server.status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """Give a receiver on this machine."""
    server = Receiver(("127.0.0.1", 0), _Answers)
    server.taken = []
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_lines_are_posted_by_pieces(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    """All lines arrive, some at a time, and a piece that is sent again has the same key."""
    monkeypatch.setattr(sink, "POSTED", 2)
    posting = Posting(f"http://127.0.0.1:{receiver.server_port}/x")
    rows = [{"lines": "1\n2\n3"}, {"lines": "4"}, {"lines": "5"}]
    posting(iter(rows))
    first = list(receiver.taken)
    assert [body for _, body in first] == [b"1\n2\n", b"3\n4\n", b"5\n"]
    posting(iter(rows))
    assert receiver.taken[3:] == first


def test_what_is_not_taken_ends_the_query(receiver: Receiver) -> None:
    """A receiver that answers with an error, or not at all, is named, and the batch comes again."""
    receiver.status = 503
    with pytest.raises(StateError, match="answers 503; the batch comes again"):
        Posting(f"http://127.0.0.1:{receiver.server_port}/secret")(iter([{"lines": "1"}]))
    with pytest.raises(StateError, match=r"http://127\.0\.0\.1:1 cannot be reached"):
        Posting("http://127.0.0.1:1/secret")(iter([{"lines": "1"}]))


def test_nothing_makes_no_piece() -> None:
    """A partition without lines is not posted."""
    assert list(pieces(iter([]))) == []
