"""The pages: the live dashboard and the API's description. No script or style from elsewhere."""

from pathlib import Path

from pipeline.settings import Settings

_TEMPLATE = (Path(__file__).parent / "dashboard" / "index.html").read_text()

DOCS = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>PulseGuard API</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'self'; base-uri 'none'; form-action 'none'">
<link rel="icon" href="/static/icon.svg"><link rel="stylesheet" href="/static/style.css"></head>
<body><header><h1>PulseGuard API</h1>
<nav><a href="/">live</a> <a href="/docs/openapi.json">openapi.json</a></nav></header>
<main id="docs"><p class="empty">Reading the description …</p></main>
<script src="/static/docs.js"></script></body></html>"""


def dashboard(settings: Settings) -> tuple[str, dict[str, str]]:
    """The page and its headers. It finds the relay on its own host, and is told which tokens it has to ask for."""
    port = settings.relay_port
    headers = {
        "Content-Security-Policy": f"default-src 'self'; connect-src 'self' ws://*:{port} wss://*:{port}; "
        "frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "no-cache",
    }
    told = {
        "relay_port": str(port),
        "relay_token": "wanted" if settings.relay_token else "",
        "api_token": "wanted" if settings.api_token else "",
    }
    page = _TEMPLATE
    for name, value in told.items():
        page = page.replace(f"{{{{{name}}}}}", value)
    return page, headers
