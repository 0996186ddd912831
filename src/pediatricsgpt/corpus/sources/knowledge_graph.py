"""Facts of knowledge graphs: disease records (`medical.json` and its exports) and triples.

One record per entity and relation: the title is the entity and the relation's Chinese name, the text is the long field
or the tails joined by `、` in the order of the source. The entity's departments become the label of all its records.

Left out of disease records, because they say nothing about the disease: `_id`, `yibao_status`, `cost_money` (insurance
and prices of an unknown year) and `drug_detail` (brand names; the drugs themselves stand in the other drug fields).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pediatricsgpt.corpus.sources.file import Result, SourceFile
from pediatricsgpt.corpus.sources.rows import Row, RowError, json_rows, reject_row, table_rows
from pediatricsgpt.records import Locator, Record

_COLUMNS = ("head", "relation", "tail")
_FIELDS = {
    "desc": "简介",
    "category": "就诊科室",
    "cure_department": "就诊科室",
    "cause": "病因",
    "get_prob": "发病率",
    "easy_get": "易感人群",
    "get_way": "传播方式",
    "symptom": "症状",
    "symptoms": "症状",
    "acompany": "并发症",
    "check": "检查项目",
    "prevent": "预防",
    "cure_way": "治疗方法",
    "cure_lasttime": "治疗周期",
    "cured_prob": "治愈率",
    "common_drug": "常用药品",
    "recommand_drug": "推荐药品",
    "do_eat": "宜吃",
    "not_eat": "忌吃",
    "recommand_eat": "推荐食谱",
}
_RELATIONS = {
    **_FIELDS,
    "has_symptom": "症状",
    "has_symptoms": "症状",
    "belongs_to": "就诊科室",
    "has_complication": "并发症",
    "acompany_with": "并发症",
    "treat_way": "治疗方法",
    "treat_cycle": "治疗周期",
    "check_item": "检查项目",
    "need_check": "检查项目",
    "susceptible_people": "易感人群",
    "transmission_way": "传播方式",
    "disease_ratio": "发病率",
    "cure_prob": "治愈率",
    "good_food": "宜吃",
    "avoid_food": "忌吃",
    "no_eat": "忌吃",
    "recommand_recipes": "推荐食谱",
    "pathogen": "病原体",
    "incubation_period": "潜伏期",
}
_DEPARTMENT = "就诊科室"
_NOT_MEDICAL = {"medical_insurance", "yibao_status", "cost_money"}
_ENCYCLOPEDIA = "疾病百科"  # the root of medical.json's categories, no department
_BETWEEN = "、"


def read_diseases(file: SourceFile) -> Result:
    """Disease records of a `.json` or `.jsonl` file in the schema of `medical.json`, Mongo exports included.

    Raises:
        UserError: the file is no JSON, or its encoding is unknown.
    """
    rows, rejects = json_rows(file)
    records: list[Record] = []
    for row in rows:
        try:
            records += _disease(file, row)
            file.rows.used += 1
        except RowError as error:
            rejects.append(reject_row(file, row, str(error)))
    return records, rejects


def _disease(file: SourceFile, row: Row) -> list[Record]:
    if not isinstance(row.value, Mapping) or not isinstance(row.value.get("name"), str):
        raise RowError("unknown shape: a disease record has a name and fields such as desc, cause or symptom")
    name = row.value["name"].strip()
    facts: dict[str, list[str]] = {}
    for field, relation in _FIELDS.items():
        tails = [tail for tail in _tails(row.value.get(field)) if tail != _ENCYCLOPEDIA]
        if tails:
            facts[relation] = tails  # cure_department comes after category and is the better of the two
    if not name or not facts:
        raise RowError("empty record: no name, or none of the fields with a fact")
    departments = "/".join(facts.get(_DEPARTMENT, ())) or "unknown"
    return [_fact(file, row.locator(), name, relation, tails, departments) for relation, tails in facts.items()]


def _tails(value: Any) -> list[str]:
    """The texts of a field: a text, a list of texts, or lists in lists; the first of equal ones."""
    if isinstance(value, list):
        return list(dict.fromkeys(tail for item in value for tail in _tails(item)))
    text = "" if value is None or isinstance(value, Mapping) else str(value).strip()
    return [text] if text else []


def read_triples(file: SourceFile) -> Result:
    """Triples of a `.csv` or `.tsv` file with the columns `head`, `relation` and `tail`.

    Chinese relations keep their names, known English ones get the Chinese name, unknown ones stay as they are.
    The locator is that of the first triple of the head and relation. A triple that is said again is a reject.

    Raises:
        UserError: a column is missing, a quotation mark never closes, or the encoding is unknown.
    """
    delimiter = "\t" if file.path.suffix.lower() == ".tsv" else ","
    rows, rejects = table_rows(file, _COLUMNS, delimiter)
    facts: dict[tuple[str, str], tuple[Locator, list[str]]] = {}
    for row in rows:
        head, relation, tail = (row.value[column].strip() for column in _COLUMNS)
        reason = _reason(head, relation, tail)
        if reason:
            rejects.append(reject_row(file, row, reason))
            continue
        first, tails = facts.setdefault((head, _RELATIONS.get(relation, relation)), (row.locator(), []))
        if tail in tails:
            rejects.append(reject_row(file, row, f"triple said before: under {first}"))
            continue
        tails.append(tail)
        file.rows.used += 1
    departments = {head: "/".join(tails) for (head, relation), (_, tails) in facts.items() if relation == _DEPARTMENT}
    records = [
        _fact(file, locator, head, relation, tails, departments.get(head, "unknown"))
        for (head, relation), (locator, tails) in facts.items()
    ]
    return records, rejects


def _reason(head: str, relation: str, tail: str) -> str:
    if not (head and relation and tail):
        return "empty field: head, relation and tail are all needed"
    return f"not a medical relation: {relation}" if relation in _NOT_MEDICAL else ""


def _fact(file: SourceFile, locator: Locator, name: str, relation: str, tails: list[str], department: str) -> Record:
    return file.record(
        group=f"entity:{name}",
        locator=locator,
        text=_BETWEEN.join(tails),
        title=[name, relation],
        department=department,
    )
