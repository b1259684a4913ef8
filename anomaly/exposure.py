"""Where metrics can be had: served on this machine, or in a file, by a thread that ends with the run.

With :mod:`anomaly.metrics` the only import of Prometheus' client.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

from prometheus_client import CollectorRegistry, generate_latest, make_wsgi_app
from prometheus_client.exposition import ThreadingWSGIServer

from anomaly.board import Board
from anomaly.deadline import Deadline
from anomaly.errors import ConfigError
from anomaly.metrics import registry
from anomaly.metrics_address import Served, Written

EVERY = 15.0
"""Seconds between two writings of the file: as often as Prometheus usually asks."""

PATIENCE = 5.0
"""Seconds that one who has connected may be silent."""

LONGEST = 10.0
"""Seconds that one who has connected may take in all: as long as Prometheus usually waits."""

CALLERS = 8
"""Who are answered at a time; more are turned away. Anybody on this machine may connect, and stay."""

Say = Callable[[str], None]


@contextmanager
def exposed(where: Served | Written, board: Board, say: Say = lambda _: None) -> Iterator[int]:
    """Show a board's metrics for as long as the context lasts; gives the port, 0 for a file.

    Raises
    ------
    ConfigError
        The address cannot be used, for instance since somebody else does, or the file cannot be written.
    """
    if isinstance(where, Served):
        with _serving(where, registry(board)) as port:
            yield port
    else:
        with _writing(where.path, registry(board), say):
            yield 0


class _Handler(WSGIRequestHandler):
    """Answers one request, says nothing about it, and waits for nobody."""

    timeout = PATIENCE

    def log_message(self, *_: Any) -> None:  # noqa: ANN401 - as the base class has it
        """Say nothing: standard error is for what a person should know."""


class _Server(ThreadingWSGIServer):
    """Answers in threads, a few at a time: who connects and is silent must not cost the scoring its threads."""

    def __init__(self, *args: Any) -> None:  # noqa: ANN401 - as the base has it
        self._free = threading.BoundedSemaphore(CALLERS)
        super().__init__(*args)

    def process_request_thread(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 - as the base has it
        """Answer, and give the place free."""
        try:
            with Deadline(LONGEST) as deadline:
                deadline.watch(request)
                super().process_request_thread(request, client_address)
        except OSError:  # no thread to be had for the deadline
            self.shutdown_request(request)
        finally:
            self._free.release()

    def process_request(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 - as the base has it
        """Answer in a thread, if there is a place."""
        if not self._free.acquire(blocking=False):
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except RuntimeError:  # no thread to be had
            self._free.release()
            self.shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 - as the base has it
        """Say nothing of a caller who has gone."""


class _Server6(_Server):
    address_family = socket.AF_INET6


@contextmanager
def _serving(where: Served, metrics: CollectorRegistry) -> Iterator[int]:
    kind = _Server6 if ":" in where.host else _Server
    try:
        server = make_server(where.host, where.port, make_wsgi_app(metrics), kind, _Handler)
    except OSError as error:
        raise ConfigError(
            f"--metrics: {where.host} port {where.port} cannot be used: {error.strerror}. Give another port."
        ) from error
    thread = threading.Thread(target=server.serve_forever, args=(0.1,), name="metrics", daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def _writing(path: Path, metrics: CollectorRegistry, say: Say) -> Iterator[None]:
    try:
        _write(path, generate_latest(metrics))
    except OSError as error:
        raise ConfigError(f"--metrics: {path} cannot be written: {error.strerror}. Give another file.") from error
    ended = threading.Event()
    thread = threading.Thread(target=_go_on, args=(path, metrics, ended, say), name="metrics", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _go_on(path: Path, metrics: CollectorRegistry, ended: threading.Event, say: Say) -> None:
    """Write the file time and again, and at the end; where that fails it is said once, and survived."""
    failed = last = False
    while not last:
        last = ended.wait(EVERY)
        try:
            _write(path, generate_latest(metrics))
            failed = False
        except OSError as error:
            if not failed:
                say(f"{path} cannot be written: {error.strerror}. Scoring goes on, and it is tried again.")
            failed = True


def _write(path: Path, data: bytes) -> None:
    """Replace the file in one step; everybody may read it, as node_exporter must."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with suppress(FileNotFoundError):
        temporary.unlink()
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            os.fchmod(descriptor, 0o644)
        temporary.replace(path)
    except OSError:
        with suppress(OSError):
            temporary.unlink()
        raise
