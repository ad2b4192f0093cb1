"""The company: its HTTP API, its callbacks, its payment WebSocket and its prices."""
