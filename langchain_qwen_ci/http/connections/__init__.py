"""Clients and their connections: sharing, closing, and cancellations while they are used."""
