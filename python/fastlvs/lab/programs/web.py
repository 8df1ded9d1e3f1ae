"""A real server's HTTP server, and the client that asks it.

``web.py serve NAME PORT…`` answers on all addresses until it is ended, and prints ``ready`` when it listens:

* ``GET /`` gives NAME;
* ``GET /bytes/N`` gives N bytes of :func:`content`;
* ``POST`` gives the SHA-256 of what was sent, in hexadecimal.

``web.py fetch`` reads a plan as JSON from standard input (``url``, ``count``, ``concurrency``, ``upload``,
``hold``, ``give_up``, ``timeout``), makes each request on a connection of its own, and writes a JSON list of
what came.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import socketserver
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socket import AF_INET, AF_INET6, IPPROTO_IPV6, IPV6_V6ONLY, has_dualstack_ipv6
from typing import Any
from urllib.parse import urlsplit

FAMILY, ANYWHERE = (AF_INET6, "::") if has_dualstack_ipv6() else (AF_INET, "0.0.0.0")
PIECE = 1 << 16
"""How much is read or written at a time, in bytes."""


def content(size: int) -> bytes:
    """The same ``size`` bytes for everybody, no part of which repeats another."""
    return hashlib.shake_256(b"fastlvs").digest(size)


def serve(name: str, ports: list[int]) -> None:
    """Serves on all ``ports`` until the process ends."""
    handler = type("NamedHandler", (Handler,), {"server_version": name})
    servers = [Server((ANYWHERE, port), handler) for port in ports]
    for server in servers:
        threading.Thread(target=server.serve_forever, daemon=True).start()
    print("ready", flush=True)
    threading.Event().wait()


def fetch(plan: dict[str, Any]) -> list[dict[str, Any]]:
    """Makes the requests of a plan. With ``hold`` their connections are closed when all have been answered;
    after ``give_up`` requests without answer no more are made."""
    body = content(plan["upload"]) if plan["upload"] else None
    held: list[http.client.HTTPConnection] | None = [] if plan["hold"] else None
    failures: list[str] = []

    def one() -> dict[str, Any] | None:
        if plan["give_up"] is not None and len(failures) >= plan["give_up"]:
            return None
        answer = request(plan["url"], body, plan["timeout"], held)
        failures.extend([answer["error"]] if answer["error"] else [])
        return answer

    with ThreadPoolExecutor(plan["concurrency"]) as threads:
        tasks = [threads.submit(one) for _ in range(plan["count"])]
        answers = [answer for task in tasks if (answer := task.result()) is not None]
    for connection in held or ():
        connection.close()
    return answers


def request(
    url: str, body: bytes | None, timeout: float, held: list[http.client.HTTPConnection] | None
) -> dict[str, Any]:
    """One request on a new connection; ``timeout`` limits each wait for the network, in seconds. The connection
    is closed, or added to ``held``."""
    place = urlsplit(url)
    began = time.monotonic()
    answer: dict[str, Any] = {
        "server": None,
        "status": None,
        "body": "",
        "size": 0,
        "digest": "",
        "error": None,
    }
    connection = http.client.HTTPConnection(place.hostname or "", place.port or 80, timeout=timeout)
    try:
        method, after = "GET" if body is None else "POST", "close" if held is None else "keep-alive"
        connection.request(method, place.path or "/", body, {"Connection": after})
        response = connection.getresponse()
        received = response.read()
        answer |= {"server": response.headers["Server"], "status": response.status, "size": len(received)}
        answer |= {"digest": hashlib.sha256(received).hexdigest(), "body": received[:64].decode("latin-1")}
    except (OSError, http.client.HTTPException) as error:
        answer["error"] = f"{type(error).__name__}: {error}"
    finally:
        if held is None:
            connection.close()
        else:
            held.append(connection)
    return answer | {"seconds": time.monotonic() - began}


class Server(ThreadingHTTPServer):
    """One port; a thread for each connection."""

    address_family = FAMILY
    daemon_threads = True
    request_queue_size = 1024

    def server_bind(self) -> None:
        if FAMILY is AF_INET6:
            self.socket.setsockopt(IPPROTO_IPV6, IPV6_V6ONLY, 0)
        # HTTPServer's own looks its host name up, which takes seconds where no resolver answers.
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = self.server_address[:2]  # type: ignore[assignment]


class Handler(BaseHTTPRequestHandler):
    """The answers."""

    protocol_version = "HTTP/1.1"
    sys_version = ""
    timeout = 30
    disable_nagle_algorithm = True

    def version_string(self) -> str:
        return self.server_version

    def do_GET(self) -> None:
        if self.path == "/":
            self.answer(200, f"{self.server_version}\n".encode())
        elif self.path.startswith("/bytes/") and self.path[7:].isdecimal():
            self.answer(200, content(int(self.path[7:])))
        else:
            self.answer(404, b"not here\n")

    def do_POST(self) -> None:
        digest = hashlib.sha256()
        left = int(self.headers["Content-Length"] or 0)
        while left and (piece := self.rfile.read(min(left, PIECE))):
            digest.update(piece)
            left -= len(piece)
        self.answer(200, digest.hexdigest().encode())

    def answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        pass


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(sys.argv[2], [int(port) for port in sys.argv[3:]])
    else:
        json.dump(fetch(json.load(sys.stdin)), sys.stdout)
