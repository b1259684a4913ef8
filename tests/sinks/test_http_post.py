from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anomaly.deadline import Deadline
from anomaly.errors import ConfigError
from anomaly.sinks import http_post
from anomaly.sinks.http_post import Answer, Post, receiver, secret_from, verified

Receiving = Callable[..., AbstractContextManager[Any]]
SECRET = "s3cr3t-and-never-shown"  # noqa: S105 - of a test


def post(url: str, *, token: Path | None = None, authorities: Path | None = None) -> Post:
    """Make what posts to an address."""
    secret = secret_from(file=token, environ={})
    return Post(receiver(url), secret=secret, authorities=authorities, content="application/json")


@pytest.mark.parametrize(
    ("url", "label", "target"),
    [
        (
            "https://hooks.example.org/services/T0/B0/xyz?a=b&c",
            "https://hooks.example.org",
            "/services/T0/B0/xyz?a=b&c",
        ),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080", "/"),
        ("https://[::1]:8443/x", "https://[::1]:8443", "/x"),
        ("https://bücher.example/", "https://xn--bcher-kva.example", "/"),
    ],
)
def test_addresses(url: str, label: str, target: str) -> None:
    """The receiver's own path and query stay as they are; its name leaves them out, since they may be secret."""
    found = receiver(url)
    assert (found.label, found.target) == (label, target)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("ftp://example.org/", "write https://HOST/PATH"),
        ("https:///path", "write https://HOST/PATH"),
        ("https://example.org:99999/", "write https://HOST/PATH"),
        ("https://[::1/", "write https://HOST/PATH"),
        (f"https://user:{SECRET}@example.org/", r"no user name and no password .* #token_file=FILE"),
        (f"https://{SECRET}@example.org/", r"no user name and no password .* #token_file=FILE"),
        (f"https://example.org/{SECRET} x", "write them as %XX"),
        (f"https://example.org/{SECRET}é", "write them as %XX"),
    ],
)
def test_addresses_that_are_refused(url: str, said: str) -> None:
    """What is no address of a receiver is refused with what to do, and never repeated."""
    with pytest.raises(ConfigError, match=said) as caught:
        receiver(url)
    assert SECRET not in str(caught.value)


@settings(deadline=None)
@given(st.text())
def test_any_address(text: str) -> None:
    """Any text is a receiver or a ConfigError, and no receiver's request line can be split."""
    for url in (text, f"https://{text}", f"https://h/{text}"):
        try:
            found = receiver(url)
        except ConfigError:
            continue
        assert found.target.startswith("/")
        assert found.target.isascii()
        assert not set(" \r\n") & set(found.target + found.host)


def test_posts(receiving: Receiving, tmp_path: Path) -> None:
    """Body, headers and target arrive as they are, over one connection as long as it lasts."""
    token = tmp_path / "token"
    token.write_text(f"{SECRET}\n")
    token.chmod(0o640)
    with receiving() as there, closing(post(f"http://127.0.0.1:{there.port}/a?b=c", token=token)) as sender:
        assert sender.send(b'{"a":1}', "key.0") == Answer(200, None)
        there.answers = [(503, {"Retry-After": "7"})]
        assert sender.send(b"{}", "key.1") == Answer(503, "7")
        first, second = there.requests
        assert there.connections == 1
    assert (first.target, first.body, second.body) == ("/a?b=c", b'{"a":1}', b"{}")
    assert first.headers["Authorization"] == f"Bearer {SECRET}"
    assert (first.headers["Idempotency-Key"], first.headers["Content-Type"]) == ("key.0", "application/json")


def test_a_connection_that_is_gone(receiving: Receiving) -> None:
    """A connection that the receiver has closed is opened anew, without a failed try."""
    with receiving() as there, closing(post(f"http://127.0.0.1:{there.port}/")) as sender:
        for _ in range(2):
            there.answers = [(200, {"Connection": "close"})]
            assert sender.send(b"", "k").status == 200
        sender.send(b"", "k")
        assert sender._connection is not None
        sender._connection.sock.shutdown(socket.SHUT_RDWR)
        assert sender.send(b"", "k").status == 200
        assert there.connections == 4


def test_redirects_are_not_followed(receiving: Receiving) -> None:
    """Where a receiver sends us elsewhere, we do not go: the secret is for the address that was given."""
    with receiving() as there, closing(post(f"http://127.0.0.1:{there.port}/")) as sender:
        there.answers = [(307, {"Location": f"http://127.0.0.1:{there.port}/elsewhere"})]
        assert sender.send(b"", "k").status == 307
        assert [request.target for request in there.requests] == ["/"]


def test_tls_is_verified(receiving: Receiving, certificate: Path) -> None:
    """A receiver is posted to if its certificate is vouched for by whom we were told, and else not."""
    with receiving(certificate) as there:
        url = f"https://127.0.0.1:{there.port}/"
        with closing(post(url, authorities=certificate)) as sender:
            assert sender.send(b"", "k").status == 200
        with closing(post(url)) as sender, pytest.raises(OSError, match="certificate verify failed"):
            sender.send(b"", "k")
        with (
            closing(post(f"https://localhost:{there.port}/", authorities=certificate)) as sender,
            pytest.raises(OSError, match="certificate verify failed"),
        ):
            sender.send(b"", "k")


def near(server: socket.socket) -> str:
    """Give the address of a server here."""
    return f"http://127.0.0.1:{server.getsockname()[1]}/"


@pytest.mark.parametrize(
    "answer", [b"", b"SSH-2.0-x\r\n", b"HTTP/1.1 200 OK\r\nX: " + b"y" * 70_000 + b"\r\n\r\n"]
)
def test_what_is_no_answer(answer: bytes) -> None:
    """Whatever a receiver says instead of an answer is an OSError with a word for people."""
    with socket.create_server(("127.0.0.1", 0)) as server, closing(post(near(server))) as sender:
        connection = sender._connect()
        connection.connect()
        taken, _ = server.accept()
        with taken:
            taken.sendall(answer)
            taken.shutdown(socket.SHUT_WR)
            with Deadline(10) as deadline, pytest.raises(OSError, match=r"no proper answer|reset|Broken pipe"):
                sender._ask(connection, b"{}", {}, deadline)


@contextmanager
def dripping(begin: bytes, drip: bytes) -> Iterator[str]:
    """Run a receiver that begins an answer and then drips on for as long as anybody listens."""
    ended = threading.Event()

    def drop() -> None:
        taken, _ = server.accept()
        with taken, suppress(OSError):
            taken.sendall(begin)
            while not ended.wait(0.01):
                taken.sendall(drip)

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=drop)
        thread.start()
        try:
            yield near(server)
        finally:
            ended.set()
            thread.join(10)


@pytest.mark.parametrize(
    ("begin", "drip"),
    [
        (b"", b"H"),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 100),
        (b"", b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" * 100),
    ],
)
def test_an_answer_that_drips(begin: bytes, drip: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """However a receiver drips, a post ends in time, as one that has failed."""
    monkeypatch.setattr(http_post, "LONGEST", 0.2)
    with (
        dripping(begin, drip) as url,
        closing(post(url)) as sender,
        pytest.raises(TimeoutError, match="no whole answer within 0 s"),
    ):
        sender.send(b"{}", "k")


@pytest.mark.parametrize(
    "begin",
    [
        b"HTTP/1.1 200 OK\r\nX: ",
        b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: ",
    ],
)
def test_what_is_behind_an_answer_drips(begin: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """A receiver that has said that it has the alert has it, and is waited for no longer than for any other."""
    monkeypatch.setattr(http_post, "LONGEST", 0.2)
    with dripping(begin, b"z") as url, closing(post(url)) as sender:
        assert sender.send(b"{}", "k") == Answer(200, None)
        assert sender._connection is None


def test_hints_before_the_answer() -> None:
    """What is only said while the answer is made, 1xx, is not the answer; the connection is used on."""
    with socket.create_server(("127.0.0.1", 0)) as server, closing(post(near(server))) as sender:
        connection = sender._connect()
        connection.connect()
        taken, _ = server.accept()
        with taken:
            for status in (202, 503):
                hints = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" * 2
                taken.sendall(hints + b"HTTP/1.1 %d X\r\nContent-Length: 1\r\n\r\nx" % status)
                assert sender.send(b"{}", "k") == Answer(status, None)
            assert sender._connection is connection


@pytest.mark.parametrize(
    ("text", "value"), [(f"{SECRET}\n", f"Bearer {SECRET}"), (f"Splunk {SECRET}", f"Splunk {SECRET}")]
)
def test_secrets(text: str, value: str, tmp_path: Path) -> None:
    """A word alone is a bearer's token; more than one is the whole header."""
    (tmp_path / "token").write_text(text)
    (tmp_path / "token").chmod(0o600)
    assert secret_from(file=tmp_path / "token", environ={})() == value
    assert secret_from(variable="T", environ={"T": text})() == value
    assert secret_from(environ={})() is None


@pytest.mark.parametrize(
    ("content", "mode", "said"),
    [
        (f"{SECRET}\nX: y", 0o600, "one line of ASCII"),
        ("", 0o600, "one line of ASCII"),
        (f"{SECRET}é", 0o600, "one line of ASCII"),
        (SECRET, 0o644, "everybody may read it. Run: chmod o="),
    ],
)
def test_secrets_that_are_refused(content: str, mode: int, said: str, tmp_path: Path) -> None:
    """A file that holds no header, or that everybody may read, is refused; its content is not repeated."""
    (tmp_path / "token").write_text(content)
    (tmp_path / "token").chmod(mode)
    with pytest.raises(ConfigError, match=said) as caught:
        secret_from(file=tmp_path / "token", environ={})()
    assert SECRET not in str(caught.value)


def test_secrets_that_are_not_there(tmp_path: Path) -> None:
    """A file or a variable that is missing is named."""
    with pytest.raises(ConfigError, match="token, cannot be read: No such file or directory"):
        secret_from(file=tmp_path / "token", environ={})()
    with pytest.raises(
        ConfigError, match="environment variable HOOK, which holds the webhook's token, is not set"
    ):
        secret_from(variable="HOOK", environ={})


def test_secrets_stay_secret(tmp_path: Path) -> None:
    """No secret goes over the network in the clear, none is shown, and a new one is used when asked to."""
    token = tmp_path / "token"
    token.write_text(SECRET)
    token.chmod(0o600)
    with pytest.raises(ConfigError, match="would be sent the token in the clear: use https"):
        post("http://example.org/x", token=token)
    sender = post(f"https://example.org/{SECRET}", token=token)
    assert SECRET not in repr(sender)
    token.write_text("another")
    sender.reload()
    assert sender._secret == "Bearer another"  # noqa: S105 - of a test
    token.unlink()
    with pytest.raises(ConfigError, match="cannot be read"):
        sender.reload()
    assert sender._secret == "Bearer another"  # noqa: S105 - the same


def test_authorities_that_are_none(tmp_path: Path) -> None:
    """A file without certificates is refused by name."""
    (tmp_path / "ca").write_text("x")
    os.mkfifo(tmp_path / "pipe")  # which OpenSSL would wait for
    for path in (tmp_path / "ca", tmp_path / "none", tmp_path / "pipe", Path("/dev/zero")):
        with pytest.raises(ConfigError, match=r"cannot be read as certificates of authorities \(PEM\)"):
            verified(path)
