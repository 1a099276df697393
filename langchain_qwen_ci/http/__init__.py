"""From a request to the bytes of its answer.

`settings` declares the connection fields of the model, `hosts` resolves the host, `clients` owns
the httpx clients. `call_flow` decides about sending, waiting and retrying without doing I/O;
`transport` runs it with httpx, for threads and for asyncio.
"""
