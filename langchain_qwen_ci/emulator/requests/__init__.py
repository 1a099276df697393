"""Requests in the form that all APIs share, and the rules by which the service rejects them."""
