"""Converts the content of LangChain messages to the parts of a prompt."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from langchain_qwen_ci.errors import QwenInputError
from langchain_qwen_ci.request.prompt import Media, Text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from langchain_core.messages import BaseMessage

    from langchain_qwen_ci.request.prompt import MediaKind

MEDIA_KINDS: tuple[MediaKind, ...] = ("image", "video", "audio")
_TEXT_TYPES = ("text", "text-plain", "input_text")
_IMAGE_URL = re.compile(r"(https?|oss)://[^\s/]|data:[\w.+-]+/[\w.+-]+[;,]", re.IGNORECASE)
# The keys of media blocks that say what it is and where, and those of LangChain's own bookkeeping.
_MEDIA_KEYS = frozenset(
    {
        *("type", "url", "base64", "mime_type", "cache_control", "extras", "id", "index"),
        *("image", "video", "audio", "image_url", "video_url"),
    }
)
_MAX_SHOWN = 80  # characters of a wrong URL in an error; it may be a whole image


def content_parts(message: BaseMessage) -> tuple[Text | Media, ...]:
    """Return the content of a message.

    Raises:
        QwenInputError: the content has a block that cannot be sent.
    """
    if isinstance(message.content, str):
        return (Text(message.content),)
    # `content_blocks` converts blocks of OpenAI and Anthropic to standard blocks; it wraps blocks
    # of unknown types as "non_standard".
    return tuple(
        _part(block["value"] if block["type"] == "non_standard" else block)
        for block in standard_blocks(message)
    )


def standard_blocks(message: BaseMessage) -> list[dict[str, Any]]:
    """Return the content as standard blocks.

    Raises:
        QwenInputError: the content is malformed. A message with `output_version: "v1"` in its
            metadata may hold any value, which LangChain does not check.
    """
    try:
        blocks: list[Any] = list(message.content_blocks)
    except (TypeError, ValueError, LookupError, AttributeError) as error:
        raise QwenInputError(f"Content has a block that LangChain cannot read: {error}") from error
    for block in blocks:
        if not isinstance(block, dict) or not isinstance(block.get("type"), str):
            raise QwenInputError(f"Content has a block without a type: {block!r}.")
    return blocks


def cache_control(block: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the marker of the explicit context cache, from the block or from its `extras`.

    LangChain moves keys that it does not know to `extras` when it converts a block.

    Raises:
        QwenInputError: the marker is not an object.
    """
    extras = block.get("extras")
    marker = block.get("cache_control")
    if marker is None and isinstance(extras, dict):
        marker = extras.get("cache_control")
    if marker is None or isinstance(marker, dict):
        return marker
    raise QwenInputError(f'cache_control must be like {{"type": "ephemeral"}}, not {marker!r}.')


def _part(block: Mapping[str, Any]) -> Text | Media:
    if block.get("type") in _TEXT_TYPES and isinstance(block.get("text"), str):
        return Text(block["text"], cache_control(block))
    if media := _media(block):
        kind, source = media
        url, frames = (source, ()) if isinstance(source, str) else ("", source)
        for image in (url,) if kind == "image" else frames:
            _check_image_url(image)
        return Media(kind, url, cache_control(block), frames, _media_options(block))
    raise QwenInputError(
        f"A content block of type {block.get('type')!r} cannot be sent. Send text, or images, "
        "video and audio by url or base64."
    )


def _media(block: Mapping[str, Any]) -> tuple[MediaKind, str | tuple[str, ...]] | None:
    """Return kind and URL of a media block, or the URLs of the frames of a video; None if it is no
    media block."""
    match block:
        case {"type": "image" | "video" | "audio" as kind, "url": str(url)}:
            return kind, url
        case {"type": "image" | "video" | "audio" as kind, "base64": str(data)}:
            return kind, _data_url(kind, data, block.get("mime_type"))
        # LangChain does not convert these blocks of OpenAI and DashScope.
        case {"type": "image_url" | "input_image", "image_url": {"url": str(url)} | str(url)}:
            return "image", url
        case {"type": "video_url", "video_url": {"url": str(url)} | str(url)}:
            return "video", url
    for kind in MEDIA_KINDS:
        if isinstance(block.get(kind), str):
            return kind, block[kind]
    frames = block.get("video")
    if isinstance(frames, list) and frames and all(isinstance(frame, str) for frame in frames):
        return "video", tuple(frames)
    return None


def _media_options(block: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a block says besides its kind and source, wherever people write it.

    LangChain moves keys that it does not know to `extras`, and those inside of `image_url` with
    that name before them.
    """
    options: dict[str, Any] = {}
    for holder in (block.get("image_url"), block.get("video_url"), block.get("extras"), block):
        if isinstance(holder, dict):
            options |= {name.removeprefix("image_url_"): holder[name] for name in holder}
    if options.get("detail") == "auto":  # the default
        del options["detail"]
    return {
        name: value
        for name, value in options.items()
        if name not in _MEDIA_KEYS and value is not None
    }


def _check_image_url(url: str) -> None:
    if not _IMAGE_URL.match(url):
        shown = url if len(url) <= _MAX_SHOWN else f"{url[:_MAX_SHOWN]}…"
        raise QwenInputError(
            f"An image is neither an http, https or oss URL nor a data URL with a media type: "
            f'{shown!r}. Send a local file as {{"type": "image", "base64": …, "mime_type": '
            '"image/png"}.'
        )


def _data_url(kind: str, data: str, mime_type: str | None) -> str:
    if data.startswith(("http://", "https://", "data:")):  # OpenAI's audio blocks may hold a URL
        return data
    if not mime_type:
        raise QwenInputError(f"A base64 {kind} needs a mime_type, such as image/png.")
    return f"data:{mime_type};base64,{data}"
