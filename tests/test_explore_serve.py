"""`hlvm explore --serve`: the page on a port of this machine, for nobody else, until Ctrl-C."""

import http.client
import re
import signal
import socket
import subprocess
import sys
import threading
import webbrowser

import pytest

from hlvm.explore import explorer_page
from hlvm.explore.serving import PageServer
from hlvm.graph import LatentGraph

PAGE = "<!DOCTYPE html>ẑ"


def ask(server, method="GET", path="/", host=None):
    """One request; its status, the type of the answer, and the answer."""
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=60)
    connection.request(method, path, headers={"Host": host or f"127.0.0.1:{server.server_port}"})
    answer = connection.getresponse()
    return answer.status, answer.getheader("Content-Type"), answer.read().decode()


def asked(*questions, **options):
    """Answers of a server that is stopped after them."""
    answers = []
    with PageServer() as server:

        def begun():
            answers.extend(ask(server, *question, **options) for question in questions)
            signal.raise_signal(signal.SIGINT)

        server.serve_until_stopped(PAGE, begun)
    return answers


def test_server_has_one_page(in_terminal):
    whole, head, with_query, other = asked(("GET", "/"), ("HEAD", "/"), ("GET", "/?a=1"), ("GET", "/etc/passwd"))
    assert whole == with_query == (200, "text/html; charset=utf-8", PAGE)
    assert head == (200, "text/html; charset=utf-8", "")
    assert other[0] == 404
    assert PAGE not in other[2]


@pytest.mark.parametrize(("host", "status"), [("localhost", 200), ("localhost:9000", 200), ("evil.example", 403)])
def test_server_answers_to_names_of_this_machine_only(host, status, in_terminal):
    """A name of another site may lead to this machine, and its scripts could then read the page."""
    ((found, _, text),) = asked(("GET", "/"), host=host)
    assert (found, PAGE in text) == (status, status == 200)


def test_server_listens_on_loopback_only():
    with PageServer() as server:
        assert server.server_address[0] == "127.0.0.1"
        assert server.address == f"http://127.0.0.1:{server.server_port}/"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_server_ends_with_a_signal_and_gives_the_handlers_back(number, in_terminal):
    def mine(*_):
        raise AssertionError("the signal was to be held")

    before = signal.signal(number, mine)
    try:
        with PageServer() as server:
            port = server.server_port
            server.serve_until_stopped(PAGE, lambda: signal.raise_signal(number))
        assert signal.getsignal(number) is mine
    finally:
        signal.signal(number, before)
    with socket.socket() as again, pytest.raises(ConnectionRefusedError, match="refused"):
        again.connect(("127.0.0.1", port))


def test_server_is_silent_about_browsers_that_leave(in_terminal, capsys):
    with PageServer() as server:
        left = threading.Event()
        server.shutdown_request = lambda request: (PageServer.shutdown_request(server, request), left.set())

        def begun():
            with socket.create_connection(("127.0.0.1", server.server_port)) as browser:
                browser.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # leaves with a reset
                browser.sendall(b"GET / HTTP/1.0\r\nHost: localhost\r\n")
            assert left.wait(60)
            signal.raise_signal(signal.SIGINT)

        server.serve_until_stopped(PAGE, begun)
    assert capsys.readouterr() == ("", "")


def test_explore_serves_until_ctrl_c(tmp_path, in_terminal):
    """A real process, a real request and a real Ctrl-C."""
    graph = LatentGraph.tree(2, 2)
    graph.save(tmp_path / "tree.json")
    command = [sys.executable, "-m", "hlvm.cli", "explore", "tree.json", "--serve", "--out", "tree.html"]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "wrote tree.html: open it in a browser\n"
    line = process.stdout.readline()
    address = re.fullmatch(r"serving http://127\.0\.0\.1:(\d+)/ to this machine only; Ctrl-C ends it\n", line)
    assert address
    connection = http.client.HTTPConnection("127.0.0.1", int(address[1]), timeout=60)
    connection.request("GET", "/")
    found = connection.getresponse().read().decode()
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=600) == ("", "")
    assert process.returncode == 0
    assert found == (tmp_path / "tree.html").read_text(encoding="utf-8") == explorer_page(graph, name="tree")


def test_explore_opens_the_address_if_asked(run, monkeypatch, in_terminal):
    opened = []

    def stop(address):
        opened.append(address)
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(webbrowser, "open", stop)
    code, out, err = run("explore", "--serve", "--open")
    assert (code, err) == (0, "")
    assert opened == re.findall(r"serving (\S+) to", out)


def test_explore_refuses_ports_that_cannot_be_had(refused):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        refused(f"explore --serve --port {port}", f"--port {port} is in use: choose another one, or 0 for a free one")
    for port in (-1, 65_536):
        refused(f"explore --serve --port={port}", f"--port must be from 1 to 65535, or 0 for a free one, got {port}")


def test_explore_refuses_options_that_do_nothing(refused):
    refused("explore", "give --out FILE to write the page, or --serve to serve it")
    refused("explore --out {new}/page.html --port 8000", "--port is of --serve: add it, or leave --port out")
