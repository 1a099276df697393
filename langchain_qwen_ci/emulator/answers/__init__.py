"""Answers: the responder's steps become frames, until a limit or a disconnect ends the answer."""
