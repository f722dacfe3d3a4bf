"""API_TOKEN: what a client shows to be let in.

Either as ``Authorization: Bearer TOKEN``, or as the password of HTTP Basic, which some senders know alone. Never in the
query: addresses are logged, and remembered.
"""

import base64
import hmac
from collections.abc import Collection

from pipeline.settings import Settings
from pipeline.variables import listed


def tokens_of(settings: Settings) -> list[bytes] | None:
    """Each of them lets in; several while one takes the place of another. None: nothing has to be shown."""
    if settings.api_token is None:
        return None
    return [token.encode(errors="surrogateescape") for token in listed(settings.api_token)]


def shows(header: str, tokens: Collection[bytes]) -> bool:
    """Whether an ``Authorization`` header has one of the tokens. Each byte of it is a character, as in ISO 8859-1."""
    shown = _shown(header)
    return any(hmac.compare_digest(shown, token) for token in tokens)


def _shown(header: str) -> bytes:
    """Nothing for what cannot be read."""
    scheme, _, value = header.partition(" ")
    value = value.strip(" ")  # no other space: it may be a byte of a letter
    if scheme.lower() == "bearer":
        return value.encode("latin-1")
    if scheme.lower() == "basic":
        try:
            return base64.b64decode(value, validate=True).partition(b":")[2]
        except ValueError:
            return b""
    return b""
