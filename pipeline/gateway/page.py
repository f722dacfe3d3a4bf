"""The pages: the live dashboard and the API's description. No script or style from elsewhere."""

from pathlib import Path

_TEMPLATE = (Path(__file__).parent / "dashboard" / "index.html").read_text()

DOCS = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>PulseGuard API</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'self'; base-uri 'none'; form-action 'none'">
<link rel="icon" href="/static/icon.svg"><link rel="stylesheet" href="/static/style.css"></head>
<body><header><h1>PulseGuard API</h1>
<nav><a href="/">live</a> <a href="/docs/openapi.json">openapi.json</a></nav></header>
<main id="docs"><p class="empty">Reading the description …</p></main>
<script src="/static/docs.js"></script></body></html>"""


def dashboard(relay_port: int, *, token: bool) -> tuple[str, dict[str, str]]:
    """The page and its headers. The page finds the relay on its own host, at this port.

    ``token``: whether the relay wants one, which the page then asks for.
    """
    headers = {
        "Content-Security-Policy": f"default-src 'self'; connect-src 'self' ws://*:{relay_port} wss://*:{relay_port}; "
        "frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "no-cache",
    }
    page = _TEMPLATE.replace("{{relay_port}}", str(relay_port)).replace("{{relay_token}}", "wanted" if token else "")
    return page, headers
