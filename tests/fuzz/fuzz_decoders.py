"""Coverage-guided fuzzing of one API, from its bytes to messages: `make fuzz`.

    python tests/fuzz/fuzz_decoders.py responses -max_total_time=60
    python tests/fuzz/fuzz_decoders.py responses .fuzz/responses-crash-…     # reproduce a crash

The first argument is the name of the API, the others are options of libFuzzer. An input is decoded
as the body of an answer and as the body of an HTTP error; `end_to_end.check_stream` checks the
result. Inputs that reach new code are stored in `.fuzz` and used by later runs.
"""

from __future__ import annotations

import sys
import zlib
from pathlib import Path
from random import Random

import atheris

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))
with atheris.instrument_imports(include=["langchain_qwen_ci"]):
    from end_to_end import check_stream
from corrupted_streams import corrupt, split_randomly
from stream_corpus import CORPUS
from unusual_streams import ERROR_STREAMS, STREAMS_WITH_OPTIONAL_FIELDS

INPUT_FOLDER = Path(".fuzz")
LIMITS = [
    "-timeout=10",  # seconds for one input: a longer one is reported as a hang
    "-rss_limit_mb=1024",
    "-max_len=65536",
    "-print_final_stats=1",
]


def main() -> None:
    _, api, *options = sys.argv
    if not any(Path(option).is_file() for option in options):
        artifacts = f"-artifact_prefix={INPUT_FOLDER}/{api}-"
        options = [*LIMITS, artifacts, *options, str(write_seeds(api))]

    def test_one_input(body: bytes) -> None:
        # The random generator depends on the input only, so that a crash can be reproduced.
        check_stream(api, body, lambda body: split_randomly(body, Random(zlib.crc32(body))))

    def mutate(body: bytes, max_size: int, seed: int) -> bytes:
        random = Random(seed)
        if random.randrange(4) == 0:
            return atheris.Mutate(body, max_size)
        return corrupt(body, api, random)[:max_size]

    atheris.Setup([sys.argv[0], *options], test_one_input, custom_mutator=mutate)
    atheris.Fuzz()


def write_seeds(api: str) -> Path:
    """Write the streams of an API to a folder, as the first inputs, and return the folder."""
    folder = INPUT_FOLDER / api
    folder.mkdir(parents=True, exist_ok=True)
    bodies = [stream.body for stream in CORPUS.values() if stream.api == api]
    unusual = [STREAMS_WITH_OPTIONAL_FIELDS[api], ERROR_STREAMS[api]]
    for number, body in enumerate([*bodies, *unusual]):
        (folder / f"seed-{number}").write_bytes(body)
    return folder


if __name__ == "__main__":
    main()
