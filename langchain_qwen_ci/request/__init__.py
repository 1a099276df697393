"""From LangChain's input to a request: messages, parameters and tools, checked before sending.

`messages` converts LangChain messages to a `prompt`, `parameters` declares the parameters of a
request, `options` merges and checks them, `tools` sorts tools and rejects function tools while the
interpreter is on. A module of `wire` encodes the result as a `WireRequest`.
"""
