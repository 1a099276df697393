"""Coverage-guided fuzzing of one wire, from its bytes to messages: `make fuzz`.

    python tests/fuzz/fuzz_decoders.py responses -max_total_time=60
    python tests/fuzz/fuzz_decoders.py responses .fuzz/responses-crash-…     # once more

The first argument names the wire, the others are libFuzzer's. What is tried is any body of an
answer, and the same body as that of an error; what must hold is `whole_way.check`. Inputs that
reach something new are kept in `.fuzz`, and a later run begins with them.
"""

from __future__ import annotations

import sys
import zlib
from pathlib import Path
from random import Random

import atheris

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))
with atheris.instrument_imports(include=["langchain_qwen_ci"]):
    import whole_way
import corrupted_streams
from stream_corpus import CORPUS
from unusual_streams import ERRORS, RICH

FOUND = Path(".fuzz")
LIMITS = [
    "-timeout=10",  # seconds for one input: a hang is a finding
    "-rss_limit_mb=1024",
    "-max_len=65536",
    "-print_final_stats=1",
]


def main() -> None:
    _, api, *options = sys.argv
    if not any(Path(option).is_file() for option in options):
        options = [*LIMITS, f"-artifact_prefix={FOUND}/{api}-", *options, str(seeds(api))]

    def one_input(body: bytes) -> None:
        # Cut by chance, but always alike: an input that fails must fail again.
        whole_way.check(
            api, body, lambda body: corrupted_streams.pieces(body, Random(zlib.crc32(body)))
        )

    def mutate(body: bytes, max_size: int, seed: int) -> bytes:
        chance = Random(seed)
        if chance.randrange(4) == 0:
            return atheris.Mutate(body, max_size)
        return corrupted_streams.mutated(body, api, chance)[:max_size]

    atheris.Setup([sys.argv[0], *options], one_input, custom_mutator=mutate)
    atheris.Fuzz()


def seeds(api: str) -> Path:
    """A folder with what to begin with: streams, and an error."""
    folder = FOUND / api
    folder.mkdir(parents=True, exist_ok=True)
    bodies = [stream.body for stream in CORPUS.values() if stream.api == api]
    for number, body in enumerate([*bodies, RICH[api], ERRORS[api]]):
        (folder / f"seed-{number}").write_bytes(body)
    return folder


if __name__ == "__main__":
    main()
