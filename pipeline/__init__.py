"""PulseGuard: an anomaly in; a decision, and how far to trust it, out. ``flow.py`` shows the way of an event."""
