from __future__ import annotations

import dataclasses
import json

import pytest

from pediatricsgpt.errors import UserError
from pediatricsgpt.evaluation.predictions import ANSWERED, Prediction, by_id, model_of, read_ids, read_predictions

GOOD = {"prediction": "多喝水", "reference": "多喝水，休息"}


def write(path, *rows):
    path.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows) + "\n", encoding="utf-8")
    return path


def test_bare_pairs_and_full_rows_are_read(tmp_path):
    full = {
        **GOOD,
        "id": 7,
        "task": "medkqa",
        "department": "儿科",
        "age_band": "infant",
        "model": "m",
        "group": "patient 3",
        "messages": [{"role": "user", "content": "宝宝发热"}],
        "anything": [1],
    }
    bare, labelled = read_predictions(write(tmp_path / "p.jsonl", GOOD, full))
    assert bare == Prediction("多喝水", "多喝水，休息")
    assert labelled == Prediction(
        "多喝水",
        "多喝水，休息",
        "7",
        "medkqa",
        "儿科",
        "infant",
        "m",
        ({"role": "user", "content": "宝宝发热"},),
        "patient 3",
    )
    assert labelled.where == f"{tmp_path}/p.jsonl:2"


def test_byte_order_mark_blank_lines_and_line_separators_in_text_are_harmless(tmp_path):
    path = tmp_path / "p.jsonl"
    row = json.dumps({**GOOD, "prediction": "多喝水\u2028休息"}, ensure_ascii=False)
    path.write_bytes(b"\xef\xbb\xbf" + f"{row}\r\n\r\n{row}".encode())
    assert [item.prediction for item in read_predictions(path)] == ["多喝水\u2028休息"] * 2


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"prediction": "a"}, "'reference' is missing: scoring compares every prediction with a reference answer"),
        ({"prediction": "a", "referense": "b"}, "there is 'referense': rename it to 'reference'"),
        ({"predicton": "a", "reference": "b"}, "'prediction' is missing; there is 'predicton'"),
        (
            {"prediction": None, "reference": "b"},
            "must be text, not null; an answer that failed is either left out or empty text",
        ),
        ({**GOOD, "group": 1}, "'group' must be text, not a number"),
        ({"prediction": "a", "reference": ["b"]}, "'reference' must be text, not a list"),
        ({**GOOD, "task": 3}, "'task' must be text, not a number"),
        ({**GOOD, "id": True}, "'id' must be text, not true or false"),
        ({**GOOD, "messages": [{"role": "user"}]}, "'messages' must be a list of"),
        ([GOOD], "not a list; the file seems to be one JSON array"),
        ("text", "expected a JSON object"),
    ],
)
def test_bad_row_is_named_with_its_line(tmp_path, row, words):
    path = write(tmp_path / "p.jsonl", GOOD, row)
    with pytest.raises(UserError) as error:
        read_predictions(path)
    assert words in error.value.message
    assert error.value.where == f"{path}:2"
    assert "\n" not in str(error.value)


def test_line_that_is_not_json_is_named(tmp_path):
    path = tmp_path / "p.jsonl"
    path.write_text(json.dumps(GOOD) + "\n{'prediction': 'a'}\n")
    with pytest.raises(UserError, match="not JSON") as error:
        read_predictions(path)
    assert error.value.where == f"{path}:2"


@pytest.mark.parametrize("content", ["", "\n \n"])
def test_empty_file_is_an_error(tmp_path, content):
    path = tmp_path / "p.jsonl"
    path.write_text(content)
    with pytest.raises(UserError, match="the file is empty") as error:
        read_predictions(path)
    assert error.value.where == str(path)


def test_other_encoding_is_named_with_its_line(tmp_path):
    path = tmp_path / "p.jsonl"
    rows = ['{"prediction": "a", "reference": "b"}', json.dumps(GOOD, ensure_ascii=False)]
    path.write_bytes("\n".join(rows).encode("gb18030"))
    with pytest.raises(UserError, match=r"not UTF-8 but probably GB18030; convert it: iconv -f GB18030") as error:
        read_predictions(path)
    assert error.value.where == f"{path}:2"


def test_missing_file_is_answered_with_the_nearest(tmp_path):
    write(tmp_path / "predictions.jsonl", GOOD)
    with pytest.raises(UserError, match=r"no such file; did you mean 'predictions.jsonl'\?"):
        read_predictions(tmp_path / "prediction.jsonl")
    with pytest.raises(UserError, match="does not exist either"):
        read_predictions(tmp_path / "nowhere" / "p.jsonl")
    with pytest.raises(UserError, match="this is a folder"):
        read_predictions(tmp_path)


def test_an_id_that_occurs_twice_is_named_with_both_lines(tmp_path):
    path = write(tmp_path / "p.jsonl", {**GOOD, "id": 7}, GOOD, GOOD, {**GOOD, "id": "7"})
    with pytest.raises(UserError, match="the id '7' occurs twice, first in line 1") as error:
        read_predictions(path)
    assert error.value.where == f"{path}:4"


def test_an_item_without_an_id_cannot_be_set_beside_another(tmp_path):
    path = write(tmp_path / "p.jsonl", {**GOOD, "id": "a"}, GOOD)
    with pytest.raises(UserError, match="'id' is missing") as error:
        by_id(read_predictions(path))
    assert error.value.where == f"{path}:2"


@pytest.mark.parametrize(
    ("rows", "words", "line"),
    [
        ([{"id": "a"}, {"question": "b"}], "expected a JSON object with 'id'", ":2"),
        ([{"id": "a"}, ["b"]], "expected a JSON object with 'id'", ":2"),
        ([{"id": "a"}, {"id": "b"}, {"id": "a"}], "the id 'a' occurs twice", ":3"),
        ([], "the file is empty", ""),
    ],
)
def test_a_file_of_ids_is_checked_too(tmp_path, rows, words, line):
    path = write(tmp_path / "ids.jsonl", *rows)
    with pytest.raises(UserError, match=words) as error:
        read_ids(path)
    assert error.value.where == f"{path}{line}"


def test_where_answers_are_paired_by_id_a_reference_may_be_missing_and_an_id_may_not(tmp_path):
    rows = {"id": 7, "prediction": "a", "question": "热？", "model": "m"}, {"id": "8", "prediction": "b", "model": "m"}
    path = write(tmp_path / "p.jsonl", *rows)
    one, other = read_predictions(path, ANSWERED)
    assert (one.id, one.reference, one.question, other.question) == ("7", "", "热？", None)
    assert model_of([one, other], path) == "m"
    with pytest.raises(UserError, match="'reference' is missing"):
        read_predictions(path)
    with pytest.raises(UserError, match=r":2: the field 'id' is missing: answers are told apart .* there is 'idd'"):
        read_predictions(write(tmp_path / "q.jsonl", rows[0], {"idd": "8", "prediction": "b"}), ANSWERED)
    with pytest.raises(UserError, match=r"answers of 2 models \(m, n\) in one file"):
        model_of([one, dataclasses.replace(other, model="n")], path)
