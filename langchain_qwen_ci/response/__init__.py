"""From events to LangChain's output: one message builder, and the encodings of a streamed answer.

`message_builder` builds the message, `chunks` encodes events for `stream`, `protocol_events` for
`stream_events(version="v3")`, `content_blocks` rebuilds standard blocks from a message with string
content. `observers` passes events to limits, tracing and custom streams, and `context_usage` has
the usage of one inference in place of the sum.
"""
