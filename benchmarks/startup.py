"""How long `pedgpt --help` takes beside a Python that only imports what any such command needs, by hand.

    python benchmarks/startup.py [--repeat 5]

The peer is `python -c "import typer, pydantic, yaml"`: the floor for a typed command line. Both are new processes,
taken in turns after one unmeasured start each; the medians and their ratio are printed.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

OURS = [str(Path(sys.executable).with_name("pedgpt")), "--help"]
PEER = [sys.executable, "-c", "import typer, pydantic, yaml"]


def seconds(command: list[str]) -> float:
    """Wall time of one run of a command."""
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def main() -> None:
    """Time both in turns and print the ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", type=int, default=5, help="timed runs of each")
    repeat = parser.parse_args().repeat
    seconds(OURS), seconds(PEER)
    pairs = [(seconds(OURS), seconds(PEER)) for _ in range(repeat)]
    ours, peer = median(pair[0] for pair in pairs), median(pair[1] for pair in pairs)
    print(f"pedgpt --help                  {ours:.3f} s (median of {repeat})")
    print(f"import typer, pydantic, yaml   {peer:.3f} s")
    print(f"ratio                          {ours / peer:.2f}")


if __name__ == "__main__":
    main()
