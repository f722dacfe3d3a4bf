"""PulseGuard: an anomaly in; a decision, and how far to trust it, out. ``flow.py`` shows the way of an event."""

VERSION = "0.1.0"
"""That of pyproject.toml, for where the program runs from its folder and is not installed: the image."""
