"""Where a role listens: at PULSEGUARD_HOST, an address or a name, of IPv4 or of IPv6."""

import errno
import socket

from pipeline.errors import Misconfigured

_NOT_HERE = {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}
"""Of an address that this machine does not have, or not of that kind."""


def listener(host: str, variable: str, port: int) -> socket.socket:
    """A socket that has the port, and does not listen yet. Raises `Misconfigured`.

    ``::`` is every address of both kinds, as ``0.0.0.0`` is of one. A name that is both is the one of IPv4.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, address = min(found, key=lambda one: one[0] != socket.AF_INET)
        taken = socket.socket(family, kind, protocol)
    except (OSError, UnicodeError) as exc:  # of a name that IDNA knows no form of
        raise unusable(host, variable, port, exc) from exc
    try:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            taken.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        taken.bind(address)
    except OSError as exc:
        taken.close()
        raise unusable(host, variable, port, exc) from exc
    return taken


def unusable(host: str, variable: str, port: int, exc: OSError | UnicodeError) -> Misconfigured:
    """Why nothing can listen there: the port, unless it is the address that this machine does not have."""
    if isinstance(exc, socket.gaierror | UnicodeError) or exc.errno in _NOT_HERE:
        return Misconfigured("PULSEGUARD_HOST", f"{host!r} is no address of this machine",
                             "127.0.0.1, or 0.0.0.0 for all of its own")  # fmt: skip
    return Misconfigured(variable, f"port {port} cannot be used: {exc.strerror}")
