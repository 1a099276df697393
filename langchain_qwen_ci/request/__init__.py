"""From LangChain's input to a request: messages, parameters and tools, checked before sending.

`messages` converts LangChain messages to a `prompt`, `parameters` declares what a request may set,
`options` merges and checks it, `tools` sorts tools and rejects what the interpreter excludes. A
file of `wire` writes the result as a `WireRequest`.
"""
