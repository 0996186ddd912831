"""Make the labelled set on which de-identification is measured: five sets by five hands, one after the other.

    python tools/deidentification/make_test_set.py ../shared/data [OUT]

Each set was written to be blind for the rules of its time, by somebody who did not know them; once its errors had been
read it became development data. The split `blind` is the fifth one: its rows have been scored once and its errors have
not been read. The same inputs give the same bytes.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
OUT = HERE.parents[1] / "src/pediatricsgpt/corpus/deidentify/test_set.jsonl"


def main() -> None:
    """Run the five scripts and join what they write."""
    data, out = Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else OUT
    with tempfile.TemporaryDirectory() as name:
        first, second, third, fourth, fifth = (Path(name) / f"{number}.jsonl" for number in range(5))
        run("make_deidentification_set.py", data / "dialogues", first)
        run("make_deidentification_blind.py", data, first, second)
        run("make_deidentification_blind3.py", data, third, first, second)
        run("make_deidentification_blind4.py", data, fourth, first, second, third)
        run("make_deidentification_blind5.py", data, fifth, first, second, third, fourth)
        rows = [row for path in (first, second, third, fourth) for row in rows_of(path, "development")]
        rows += rows_of(fifth, "blind")
    out.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    print(len(rows), "sentences,", sum(not row["items"] for row in rows), "without personal data ->", out)


def run(script: str, *arguments: Path) -> None:
    """Run one of the scripts beside this one."""
    subprocess.run([sys.executable, str(HERE / script), *map(str, arguments)], check=True)


def rows_of(path: Path, split: str) -> list[dict[str, object]]:
    """The rows of a set, all of one split."""
    return [{**json.loads(line), "split": split} for line in path.read_text(encoding="utf-8").splitlines()]


if __name__ == "__main__":
    main()
