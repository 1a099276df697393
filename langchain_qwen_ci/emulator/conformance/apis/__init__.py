"""The checks of each API, and the requests that they send."""
