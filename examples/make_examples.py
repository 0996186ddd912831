"""Make the example sources in this folder out of a bundle of published data.

    python make_examples.py BUNDLE [OUT]

BUNDLE is a folder that holds the files as their origins publish them, under the paths that stand here as the second
argument of each call; ATTRIBUTION.md says which repository and commit each is from. OUT is this folder unless given.
The same bundle gives the same bytes: nothing is drawn by chance, what is thinned out is taken at even distances.

What is picked: everything about children, rows with the faults that the readers have to cope with (two shapes in one
file, newlines inside quoted fields, duplicates, GB18030), and a spread of the rest. No text is rewritten.
"""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

CHILD = re.compile(
    "小儿|儿科|宝宝|婴儿|幼儿|新生儿|孩子|儿童|小孩|婴幼儿|早产儿|患儿|男孩|女孩|男童|女童|[一二三四五六七八九十1-9]个?月大"
)
NOT_HERE = re.compile(r"https?://|www\.|@|```")  # addresses and code have no place among pediatric examples
HEART_DISEASES = ("先天性心脏病", "风湿性心脏病")
FACTS = "guideline_facts.tsv"


def main(bundle: Path, out: Path) -> None:
    """Write every example below `out`.

    Raises:
        ValueError: `out`, or a folder in it, is a link into the bundle: the bundle is only ever read.
    """
    for folder in (out, *out.glob("*")):
        if folder.resolve().is_relative_to(bundle.resolve()):
            raise ValueError(f"{folder} leads into the bundle; examples are written to a folder of their own")
    documents(bundle, out)
    knowledge(bundle, out)
    dialogues(bundle, out)
    distilled(bundle, out)
    preferences(bundle, out)
    benchmarks(bundle, out)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        copy(bundle / "tokenizers/minimind" / name, out / "tokenizer" / name)


def documents(bundle: Path, out: Path) -> None:
    """Guidelines and classical textbooks, unchanged; without the guideline on 86 rare diseases (1.5 MB)."""
    guidelines = bundle / "guidelines"
    found = [*guidelines.glob("nhc_json/*.json"), *guidelines.glob("nhc_ocr/*.json"), *guidelines.glob("nhc_pdf/*.pdf")]
    for path in [*found, *guidelines.glob("derived/*.docx")]:
        if "罕见病" not in path.name:
            copy(path, out / "guidelines" / path.name)
    for path in (bundle / "textbooks").glob("*.txt"):
        copy(path, out / "textbooks" / path.name)


def knowledge(bundle: Path, out: Path) -> None:
    """The Mongo export unchanged, and triples: facts that a guideline states word for word, and licensed triples."""
    copy(bundle / "kg/diseasekg_mongo_export.json", out / "knowledge_graph/diseases.jsonl")
    triples = [
        *guideline_facts(bundle, Path(__file__).with_name(FACTS)),
        *published_triples(bundle / "kg/cmekg_spo_example.json"),
        *heart_triples(bundle / "kg/relations.json"),
    ]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([("head", "relation", "tail"), *dict.fromkeys(triples)])
    write(out / "knowledge_graph/pediatric_triples.csv", text.getvalue())


def guideline_facts(bundle: Path, facts: Path) -> list[tuple[str, str, str]]:
    """The facts of `guideline_facts.tsv`, each checked to stand word for word in the guideline it names.

    Raises:
        ValueError: a fact does not stand in its guideline.
    """
    texts = {path.name: path for path in (bundle / "guidelines/nhc_json").glob("*.json")}
    rows = list(csv.DictReader(facts.open(encoding="utf-8"), delimiter="\t"))
    for row in rows:
        name = next(name for name in texts if row["document"] in name)
        content = without_spaces(json.loads(texts[name].read_text(encoding="utf-8"))["content"])
        if without_spaces(row["tail"]) not in content:
            raise ValueError(f"not stated in {name}: {row['tail']}")
    return [(row["head"], row["relation"], row["tail"]) for row in rows]


def published_triples(path: Path) -> list[tuple[str, str, str]]:
    """The example triples of CMeKG, without those about infusions for adults."""
    found = [tuple(triple) for entry in json.loads(path.read_text(encoding="utf-8")) for triple in entry["spo_list"]]
    return [(head, relation, tail) for head, relation, tail in found if "注射液" not in head]


def heart_triples(path: Path) -> list[tuple[str, str, str]]:
    """The relations of heart diseases that concern children."""
    return [
        (pair["start_entity_name"], group["rel_type"], pair["end_entity_name"])
        for group in json.loads(path.read_text(encoding="utf-8"))
        for pair in group["rels"]
        if pair["start_entity_name"] in HEART_DISEASES
    ]


def dialogues(bundle: Path, out: Path) -> None:
    """CMtMedQA (both shapes), rows of CMD with their bytes unchanged, and HET-MC with a few repeats."""
    rows = json.loads((bundle / "dialogues/cmtmedqa_test.json").read_text(encoding="utf-8"))
    picked = pick(rows, lambda row: "instruct" in row or about_children(row), 200)
    write_array(out / "dialogues/cmtmedqa.json", picked)
    table = (bundle / "dialogues/cmd_internal_medicine_sample.csv").read_bytes()
    header, *lines = csv_rows(table)
    wanted = pick(lines, lambda row: b"\n" in row[:-1] or about_children(row.decode("gb18030")), 750)
    (out / "dialogues/cmd_internal_medicine.csv").write_bytes(header + b"".join(wanted))
    blocks = (bundle / "dialogues/hetmc_train.dialog").read_text(encoding="utf-8").strip("\n").split("\n\n")
    distinct = list(dict.fromkeys(block.strip("\n") for block in blocks))
    write(out / "dialogues/hetmc.dialog", "\n\n".join([*distinct, *distinct[1:4]]) + "\n")


def distilled(bundle: Path, out: Path) -> None:
    """Instructions of five projects in five shapes, and one file of plain questions and answers."""
    folder = bundle / "distilled"
    bencao = json_lines(folder / "bencao_llama_data.jsonl")
    children, others = (
        [row for row in bencao if about_children(row)],
        [row for row in bencao if not about_children(row)],
    )
    write_lines(out / "distilled/bencao.jsonl", [*thin(children[:-60], 490), *thin(others, 400)])
    questions = [{"question": row["instruction"], "answer": row["output"]} for row in children[-60:]]
    write_lines(out / "distilled/question_answer.jsonl", questions)
    huatuo = json.loads((folder / "huatuo26m_test.json").read_text(encoding="utf-8"))
    write_array(out / "distilled/huatuo26m.json", pick(huatuo, about_children, 300, 500))
    write_lines(
        out / "distilled/medchatglm.txt", pick(json_lines(folder / "medchatglm_train.txt"), about_children, 100, 200)
    )
    sharegpt = json_lines(folder / "medicalgpt_sft_sharegpt.jsonl")
    write_lines(out / "distilled/medicalgpt_sharegpt.jsonl", pick(sharegpt, about_children, 180))
    write_lines(out / "distilled/disc_medsft.jsonl", json_lines(folder / "disc_medsft_examples.jsonl"))


def preferences(bundle: Path, out: Path) -> None:
    """The shortest preference pairs in both shapes; further pairs of the second shape as general instructions."""
    lines = short_rows(json_lines(bundle / "preferences/dpo_zh_500.jsonl"), 1500)
    write_lines(out / "preferences/pairs.jsonl", lines[:200])
    demo = json.loads((bundle / "preferences/dpo_zh_demo_sharegpt.json").read_text(encoding="utf-8"))
    rows = short_rows(demo, 3000)
    # Every fifth row and the one after it: both files get pairs of all lengths.
    pairs = [row for place, row in enumerate(rows) if place % 5 < 2][:80]
    write_array(out / "preferences/pairs_sharegpt.json", pairs)
    write_array(out / "general/sharegpt.json", [row for row in rows if row not in pairs][:120])


def benchmarks(bundle: Path, out: Path) -> None:
    """CMD questions of six departments, unchanged, and the first answers that four assistants gave to them."""
    folder = bundle / "benchmarks"
    copy(folder / "cmd_samples.json", out / "benchmarks/cmd.json")
    asked = {row["id"] for row in json.loads((folder / "cmd_samples.json").read_text(encoding="utf-8"))}
    for path in sorted((folder / "disc_eval").glob("dialogues_*_cmd.json")):
        dialogues = json.loads(path.read_text(encoding="utf-8"))
        first = [
            {
                "id": row["id"],
                "prediction": next(turn["content"] for turn in row["conversation"] if turn["role"] == "doctor"),
                "model": row["model"],
            }
            for row in dialogues
            if row["id"] in asked
        ]
        write_lines(out / f"benchmarks/answers/{dialogues[0]['model']}.jsonl", first)


def about_children(row: Any) -> bool:
    """True of a row in which a child is spoken of."""
    text = row if isinstance(row, str) else json.dumps(row, ensure_ascii=False)
    return CHILD.search(text) is not None


def pick(rows: Sequence[Any], wanted: Callable[[Any], bool], others: int, most: int | None = None) -> list[Any]:
    """All wanted rows (or `most` of them) and some of the others, in the order of the source."""
    places = [place for place, row in enumerate(rows) if wanted(row)]
    rest = sorted(set(range(len(rows))) - set(places))
    chosen = [*(places if most is None else thin(places, most)), *thin(rest, others)]
    return [rows[place] for place in sorted(chosen)]


def thin(rows: Sequence[Any], count: int) -> list[Any]:
    """At most `count` rows at even distances."""
    count = min(count, len(rows))
    return [rows[number * len(rows) // count] for number in range(count)]


def short_rows(rows: Iterable[Any], limit: int) -> list[Any]:
    """Rows below a length that hold no address and no code, shortest first."""
    texts = [(json.dumps(row, ensure_ascii=False), row) for row in rows]
    fitting = [(len(text), text, row) for text, row in texts if len(text) < limit and not NOT_HERE.search(text)]
    return [row for _, _, row in sorted(fitting, key=lambda item: item[:2])]


def csv_rows(table: bytes) -> list[bytes]:
    """The rows of a table as bytes, with newlines inside quotation marks; no GB18030 character holds that byte."""
    rows, row = [], b""
    for line in table.splitlines(keepends=True):
        row += line
        if row.count(b'"') % 2 == 0:
            rows.append(row)
            row = b""
    return rows


def json_lines(path: Path) -> list[Any]:
    """The rows of a file of JSON lines."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def without_spaces(text: str) -> str:
    """The text without anything that a line break or a space changes."""
    return re.sub(r"\s", "", text)


def write_lines(path: Path, rows: Iterable[Any]) -> None:
    """Write JSON lines."""
    write(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def write_array(path: Path, rows: Iterable[Any]) -> None:
    """Write a JSON array, a row on each line."""
    write(path, "[\n" + ",\n".join(json.dumps(row, ensure_ascii=False) for row in rows) + "\n]\n")


def write(path: Path, text: str) -> None:
    """Write a UTF-8 file, its folder included."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8", newline="\n")


def copy(path: Path, target: Path) -> None:
    """Copy the bytes of a file, its folder included."""
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(path, target)


if __name__ == "__main__":
    if not 2 <= len(sys.argv) <= 3:
        sys.exit(__doc__)
    main(Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) == 3 else Path(__file__).parent)
