"""Parsers of structured answers: an answer that does not fit raises `OutputParserException`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from langchain_core.exceptions import OutputParserException
from langchain_core.messages import BaseMessage
from langchain_core.output_parsers import JsonOutputParser
from langchain_core.output_parsers.openai_tools import JsonOutputKeyToolsParser
from langchain_core.output_parsers.transform import BaseCumulativeTransformOutputParser
from langchain_core.outputs import ChatGeneration, Generation

from langchain_qwen_ci.chat_models.schema_validation import find_mismatch

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator


class _CheckedAtEnd(BaseCumulativeTransformOutputParser[Any]):
    """A parser that checks the complete answer at the end of a stream.

    LangChain parses a stream as an incomplete answer up to its end, and so accepts everything.
    """

    def _transform(self, input: Iterator[str | BaseMessage]) -> Iterator[Any]:  # noqa: A002
        received: list[str | BaseMessage] = []

        def record() -> Iterator[str | BaseMessage]:
            for chunk in input:
                received.append(chunk)
                yield chunk

        yield from super()._transform(record())
        self._check(received)

    async def _atransform(
        self,
        input: AsyncIterator[str | BaseMessage],  # noqa: A002
    ) -> AsyncIterator[Any]:
        received: list[str | BaseMessage] = []

        async def record() -> AsyncIterator[str | BaseMessage]:
            async for chunk in input:
                received.append(chunk)
                yield chunk

        async for parsed in super()._atransform(record()):
            yield parsed
        self._check(received)

    def _check(self, chunks: list[str | BaseMessage]) -> None:
        raise NotImplementedError


class TextAnswerParser(_CheckedAtEnd):
    """Parses JSON in the text of an answer.

    Attributes:
        parser: LangChain's parser, of JSON or of a pydantic class.
        answer_schema: a JSON schema that the parsed answer must fit; None: the parser checks it.
    """

    parser: JsonOutputParser
    answer_schema: dict[str, Any] | None = None

    def parse_result(self, result: list[Generation], *, partial: bool = False) -> Any:  # noqa: ANN401
        parsed = self.parser.parse_result(result, partial=partial)
        if not partial and self.answer_schema is not None:
            _raise_for_mismatch(parsed, self.answer_schema, result[0].text)
        return parsed

    def parse(self, text: str) -> Any:  # noqa: ANN401
        return self.parse_result([Generation(text=text)])

    def _check(self, chunks: list[str | BaseMessage]) -> None:
        self.parse("".join(chunk if isinstance(chunk, str) else chunk.text for chunk in chunks))


class DictArgumentsParser(_CheckedAtEnd, JsonOutputKeyToolsParser):
    """Returns the arguments of a function call, checked against a JSON schema.

    None if there is no call.
    """

    answer_schema: dict[str, Any]

    def parse_result(self, result: list[Generation], *, partial: bool = False) -> Any:  # noqa: ANN401
        parsed = super().parse_result(result, partial=partial)
        if not partial and parsed is not None:
            _raise_for_mismatch(parsed, self.answer_schema, str(parsed))
        return parsed

    def _check(self, chunks: list[str | BaseMessage]) -> None:
        messages: list[Any] = [chunk for chunk in chunks if isinstance(chunk, BaseMessage)]
        if not messages:
            return
        first, *rest = messages
        for message in rest:
            first += message
        self.parse_result([ChatGeneration(message=first)])


def _raise_for_mismatch(answer: object, schema: dict[str, Any], text: str) -> None:
    if mismatch := find_mismatch(answer, schema):
        raise OutputParserException(
            f"The answer does not fit the schema: {mismatch}.", llm_output=text
        )
