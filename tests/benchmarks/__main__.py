"""`make bench`: measures this package beside other clients, and writes docs/performance.md.

`python tests/benchmarks quick` takes about four minutes, and prints only.
"""

from __future__ import annotations

import sys

import report
from measures import PLANS, Benchmark, has_fast_transport, replay_server


def main() -> int:
    size = sys.argv[1] if len(sys.argv) > 1 else "full"
    if size not in PLANS:
        print(f"{size!r} is none of: {', '.join(PLANS)}.", file=sys.stderr)
        return 2
    ours = ("ours", "ours fast") if has_fast_transport() else ("ours",)
    with replay_server() as url:
        benchmark = Benchmark(url, PLANS[size], ours)
        try:
            benchmark.run()
        finally:  # also what was measured before an error or Ctrl-C
            values = benchmark.medians()
            print(report.tables(values, ours, benchmark.failures), flush=True)
    if size == "full":
        report.write(values, ours, benchmark.failures)
    return 0


if __name__ == "__main__":
    sys.exit(main())
