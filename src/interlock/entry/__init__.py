"""Doors into Interlock: the HTTP API and the server that executes runs behind it."""
