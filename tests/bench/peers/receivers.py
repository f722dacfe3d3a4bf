"""Many websocket clients in one cheap process: they shake hands, then only count. `receivers PORT PATH CLIENTS EACH`.

A real client's work would be measured in the server's place: on few cores it takes the time that the server needs.
Says `connected`, and then what came in one line of JSON.
"""

import json
import selectors
import socket
import sys
import time

MARK = b'"id":"dec_'
"""Each event holds it once, whether it comes alone or in an envelope with others."""
PATIENCE = 10.0
"""Seconds of silence after which what is missing will not come."""


def main(port: int, path: str, clients: int, each: int) -> None:
    selector = selectors.DefaultSelector()
    tails: dict[socket.socket, bytes] = {}
    for _ in range(clients):
        line = _connected(port, path)
        tails[line] = b""
        selector.register(line, selectors.EVENT_READ, line)
    print("connected", flush=True)
    seen, dropped, first, last = 0, 0, 0.0, time.perf_counter()
    while seen < clients * each and dropped < clients:
        ready = selector.select(1.0)
        if first and not ready and time.perf_counter() - last > PATIENCE:
            break
        for key, _ in ready:
            line = key.data
            try:
                data = line.recv(1 << 18)
            except OSError:
                data = b""
            if not data:
                selector.unregister(line)
                dropped += 1
                continue
            text = tails[line] + data
            count = text.count(MARK)
            tails[line] = text[-(len(MARK) - 1) :]
            if count:
                seen += count
                last = time.perf_counter()
                first = first or last
    print(json.dumps({"deliveries": seen, "seconds": last - first, "dropped": dropped}), flush=True)


def _connected(port: int, path: str) -> socket.socket:
    line = socket.create_connection(("127.0.0.1", port), 10)
    request = (
        f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    line.sendall(request.encode())
    answer = b""
    while b"\r\n\r\n" not in answer:
        answer += line.recv(4096)
    assert b" 101 " in answer.split(b"\r\n", 1)[0], answer
    line.setblocking(False)
    return line


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
