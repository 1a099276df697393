"""Secrets of a model and its tools, for tests that they are sent and not shown."""

from __future__ import annotations

SECRETS = {
    "api_key": "sk-very-secret",
    "header": "token-of-a-gateway",
    "proxy": "password-of-a-proxy",
    "workspace": "ws-nobodys-business",
    "mcp": "key-of-an-mcp-server",
}
SECRET = SECRETS["api_key"]
MCP_SECRET = SECRETS["mcp"]
MCP_SERVER = {
    "type": "mcp",
    "server_label": "maps",
    "server_url": "https://maps.example",
    "headers": {"Authorization": MCP_SECRET},
    "authorization": MCP_SECRET,
}
