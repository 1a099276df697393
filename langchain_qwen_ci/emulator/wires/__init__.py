"""The three APIs from the side of the service: parse a request, encode the response."""
