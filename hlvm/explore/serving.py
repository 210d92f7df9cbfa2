"""One page on a port of this machine, for a browser that cannot open the file, such as one behind an SSH tunnel."""

from __future__ import annotations

import errno
import sys
import threading
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from hlvm._numbers import UsageError
from hlvm._process.interrupts import Interrupts

__all__ = ["PageServer"]

_LOOPBACK = "127.0.0.1"
_HOSTS = ("localhost", _LOOPBACK)
_LOOKS_EVERY = 0.1
"""Seconds between two looks at whether Ctrl-C came."""


class PageServer(ThreadingHTTPServer):
    """Serves one page, to this machine only.

    The port is taken at once, so that one that cannot be had is told before the page is made.

    Attributes:
        page: what ``/`` holds; UTF-8.
        address: its URL.

    Args:
        port: from 1 to 65,535; 0 takes a free one.

    Raises:
        UsageError: the port is none, is in use, or is not ours to take.
    """

    daemon_threads = True  # a browser that keeps a connection open does not keep the process

    def __init__(self, port: int = 0) -> None:
        if not 0 <= port <= 65_535:
            raise UsageError(f"must be from 1 to 65535, or 0 for a free one, got {port}", argument="port")
        try:
            super().__init__((_LOOPBACK, port), _OnePage)
        except OSError as error:
            if error.errno not in (errno.EADDRINUSE, errno.EACCES):
                raise
            why = "is in use" if error.errno == errno.EADDRINUSE else "is reserved by the system"
            raise UsageError(f"{port} {why}: choose another one, or 0 for a free one", argument="port") from None
        self.page = b""
        self.address = f"http://{_LOOPBACK}:{self.server_port}/"

    def serve_until_stopped(self, page: str, begun: Callable[[], Any]) -> None:
        """Serve until Ctrl-C or SIGTERM, either of which is its ordinary end.

        Args:
            page: what to serve.
            begun: called once the page can be had.
        """
        self.page = page.encode()
        with Interrupts(words="") as interrupts:
            thread = threading.Thread(target=self.serve_forever, args=(_LOOKS_EVERY,), daemon=True)
            thread.start()
            begun()
            while not interrupts.wanted:
                thread.join(_LOOKS_EVERY)
            self.shutdown()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Be silent about browsers that leave in the middle of an answer."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _OnePage(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self._answer(with_page=True)

    def do_HEAD(self) -> None:
        self._answer(with_page=False)

    def _answer(self, *, with_page: bool) -> None:
        # Another site must not read the page through a name of its own that leads to this machine.
        if self.headers.get("Host", "").partition(":")[0] not in _HOSTS:
            self.send_error(HTTPStatus.FORBIDDEN)
            return
        if self.path.partition("?")[0] != "/":
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        page = self.server.page if isinstance(self.server, PageServer) else b""
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(page)))
        self.send_header("Cache-Control", "no-store")  # the next page may have the same port
        self.end_headers()
        if with_page:
            self.wfile.write(page)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the name of the base class
        """Say nothing: a command has one line for what the user can mend."""
