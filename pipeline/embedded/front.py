"""The embedded broker's front: lets clients that are some years old connect to it.

librdkafka 2.0 (so kcat in Debian 12) misreads the tagged fields that this broker sends in an ApiVersions response. They
are optional, so they are cut off here, in the first response of a connection. What follows is spliced in the kernel,
both ways, and costs next to nothing.

A program of its own, so that it shares no interpreter lock with the pipeline: `front.py PORT BROKER_PORT BROKER ARG…`
becomes the broker, and leaves a child that serves PORT for as long as the broker lives.
"""

import contextlib
import ctypes
import os
import signal
import socket
import struct
import sys
import threading
import time
from collections.abc import Iterator

_PR_SET_PDEATHSIG = 1
_API_VERSIONS = 18
_FLEXIBLE = 3
_LONGEST = 4096
"""Bytes of a first request that is looked into; an ApiVersions request has about 50."""
_CHUNK = 2**16
_PAUSE = 0.1
"""Seconds until the next try, where a connection could not be taken."""


def without_tags(body: bytes) -> bytes:
    """An ApiVersions response of version 3 or later, without its length, its closing tagged fields made none.

    Correlation id, error code, a compact array of (key, lowest, highest, tagged fields), throttle time, tagged fields:
    https://kafka.apache.org/protocol#The_Messages_ApiVersions. Raises IndexError when it is shorter than it says.
    """
    count, at = _unsigned(body, 6)
    for _ in range(count - 1):
        tags, at = _unsigned(body, at + 6)
        for _ in range(tags):
            _, at = _unsigned(body, at)
            size, at = _unsigned(body, at)
            at += size
    if at + 4 > len(body):
        raise IndexError
    return body[: at + 4] + b"\0"


def _unsigned(body: bytes, at: int) -> tuple[int, int]:
    """A variable-length unsigned integer at ``at``, and where the next field begins."""
    value = shift = 0
    while True:
        byte = body[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:  # noqa: PLR2004 - no more bytes follow
            return value, at
        shift += 7


def _serve(client: socket.socket, broker_port: int) -> None:
    with (
        client,
        contextlib.suppress(OSError, EOFError, IndexError),
        socket.create_connection(("127.0.0.1", broker_port)) as broker,
    ):
        for side in (client, broker):
            side.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        _greet(client, broker)
        back = threading.Thread(target=_splice, args=(broker, client), daemon=True)
        back.start()
        _splice(client, broker)
        back.join()


def _greet(client: socket.socket, broker: socket.socket) -> None:
    """Pass the first request on, and its response where it is one of ApiVersions."""
    length = _exactly(client, 4)
    size = struct.unpack(">I", length)[0]
    request = _exactly(client, min(size, _LONGEST))
    broker.sendall(length + request)
    if len(request) < 4 or size > _LONGEST:  # noqa: PLR2004 - key and version
        return
    key, version = struct.unpack(">hh", request[:4])
    if key == _API_VERSIONS and version >= _FLEXIBLE:
        length = _exactly(broker, 4)
        response = _exactly(broker, struct.unpack(">I", length)[0])
        # A refused version is answered in the form of version 0, and is not touched.
        cut = response if response[4:6] != b"\0\0" else without_tags(response)
        client.sendall(struct.pack(">I", len(cut)) + cut)


def _exactly(source: socket.socket, size: int) -> bytes:
    found = b""
    while len(found) < size:
        more = source.recv(size - len(found))
        if not more:
            raise EOFError
        found += more
    return found


def _splice(source: socket.socket, sink: socket.socket) -> None:
    """Move bytes until ``source`` has no more, then say so to ``sink``."""
    try:
        with _pipe() as (outlet, inlet):
            while moved := os.splice(source.fileno(), inlet, _CHUNK):
                while moved:
                    moved -= os.splice(outlet, sink.fileno(), moved)
    except OSError:
        pass  # one side is gone, or there is no pipe to be had; the other learns it by the shutdown
    finally:
        for side, way in ((sink, socket.SHUT_WR), (source, socket.SHUT_RD)):
            with contextlib.suppress(OSError):
                side.shutdown(way)


@contextlib.contextmanager
def _pipe() -> Iterator[tuple[int, int]]:
    outlet, inlet = os.pipe()
    try:
        yield outlet, inlet
    finally:
        os.close(outlet)
        os.close(inlet)


def main(port: int, broker_port: int, broker: list[str]) -> None:
    """Listen, leave a child that serves, and become the broker."""
    with socket.create_server(("127.0.0.1", port), backlog=256) as listener:
        parent = os.getpid()
        if os.fork():
            os.execv(broker[0], broker)  # noqa: S606 - closes the listener here, and no shell is wanted
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        while os.getppid() == parent:
            try:
                client, _ = listener.accept()
                threading.Thread(target=_serve, args=(client, broker_port), daemon=True).start()
            except (OSError, RuntimeError):  # who hung up already; or too many files or threads: some will end
                time.sleep(_PAUSE)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
