"""Validating judges over HTTP whose preferences are planted: kappa and accuracy must recover them."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from pediatricsgpt.endpoint.settings import TeacherSettings
from pediatricsgpt.errors import UserError
from pediatricsgpt.evaluation.judge.prompt import prompt
from pediatricsgpt.evaluation.judge.questions import read_pair
from pediatricsgpt.evaluation.validation.figures import headline_allowed, validation_of
from pediatricsgpt.evaluation.validation.labels import read_labels, reference_of
from pediatricsgpt.evaluation.validation.reference import LabelledPair, Reference, read_disc
from pediatricsgpt.evaluation.validation.run import (
    _shown,
    ask,
    compare,
    forecast_judge,
    read_validation,
    with_answers,
    write_validation,
)
from tests.evaluation.validation.raters import judge_that, noisy, simulated_verdicts
from tests.openai_server import Fault, OpenAIServer

MODELS = ("base", "sft")


@pytest.fixture(scope="module")
def disc(shared: Path) -> Reference:
    return read_disc(shared / "data" / "benchmarks" / "disc_eval", 40)


def _judge(server: OpenAIServer, **more) -> TeacherSettings:
    return TeacherSettings(
        base_url=server.base_url, model="judge", temperature=0.0, concurrency=8, retry_pause=0.01, **more
    )


def _validated(disc: Reference, prefers, folder: Path, **more):
    with OpenAIServer(answer=judge_that(prefers, _shown(disc), **more)) as server:
        return ask(disc, _judge(server), folder)


def test_a_judge_that_follows_the_scores_passes(disc, tmp_path):
    labels = {pair.id: pair.labels for pair in disc.pairs}
    found = _validated(disc, lambda pair, dimension: labels[pair].get(dimension, 0), tmp_path)
    on = found["dimensions"]["correctness"]
    assert on["agreement"]["kappa"]["mean"] == on["decided"]["kappa"]["mean"] == 1.0
    assert on["accuracy"]["mean"] == 1.0
    assert (found["passed"], found["passed_on"]) == (True, "correctness")
    assert found["pairs"] == 40
    assert set(found["dimensions"]) == {"correctness", "usefulness", "fluency"}
    assert found["prompt"]["sha256"] == prompt().sha256


@pytest.mark.check
@pytest.mark.parametrize("wrong", [0.1, 0.25, 0.5])
def test_noise_on_the_real_scores_is_recovered(shared, tmp_path, wrong):
    """A judge that says the opposite of a share w on the pairs that are told apart has a kappa of 1 - 2 w there."""
    disc = read_disc(shared / "data" / "benchmarks" / "disc_eval")
    labels = {pair.id: pair.labels for pair in disc.pairs}
    found = _validated(disc, noisy(labels, wrong), tmp_path)
    on = found["dimensions"]["correctness"]
    assert on["decided"]["kappa"]["low"] <= 1 - 2 * wrong <= on["decided"]["kappa"]["high"]
    assert on["accuracy"]["low"] <= 1 - wrong <= on["accuracy"]["high"]
    assert on["n"] == 504
    # It never ties, and most scores do: with ties counted, even a judge that is never wrong agrees little.
    assert on["agreement"]["kappa"]["mean"] < 0.3
    assert found["passed"] == (wrong < 0.4)


def test_a_judge_that_takes_the_first_answer_does_not_pass(disc, tmp_path):
    found = _validated(disc, lambda *_: 0, tmp_path, consistent=False)
    on = found["dimensions"]["correctness"]
    assert on["judge_ties"] == on["n"]
    assert on["accuracy"]["mean"] == 0.5
    assert on["decided"]["kappa"]["mean"] == pytest.approx(0.0, abs=1e-9)
    assert not found["passed"]


def test_prose_is_counted_and_no_agreement_is_made_up(disc, tmp_path):
    few = dataclasses.replace(disc, pairs=disc.pairs[:10])
    with OpenAIServer(answer=lambda body: "两份都不错。") as server:
        found = ask(few, _judge(server), tmp_path)
    assert found["invalid"] == 20
    on = found["dimensions"]["correctness"]
    assert (on["n"], on["without_verdict"], on["accuracy"], on["agreement"]["kappa"]) == (0, 10, None, None)
    assert not found["passed"]


def test_a_stopped_validation_goes_on_where_it_was(disc, tmp_path):
    disc = dataclasses.replace(disc, pairs=disc.pairs[:12])
    labels = {pair.id: pair.labels for pair in disc.pairs}
    with OpenAIServer(answer=judge_that(noisy(labels, 0.0), _shown(disc))) as server:
        judge = _judge(server, retries=0).model_copy(update={"concurrency": 1})
        server.script.extend([Fault()] * 10 + [Fault(status=503)] * 40)
        with pytest.raises(UserError, match="does not answer"):
            ask(disc, judge, tmp_path)
        server.script.clear()
        cost = forecast_judge(disc, judge, tmp_path)
        assert (cost.known, cost.cost.requests) == (10, 14)
        before = len(server.requests)
        found = ask(disc, judge, tmp_path)
        assert len(server.requests) - before == 14
    assert found["costs"]["cached"] == 10


def _truth(n: int) -> dict[str, int]:
    return {f"q{i}": int(better) for i, better in enumerate(np.random.default_rng(4).integers(-1, 2, size=n))}


def _doctors(truth: dict[str, int], folder: Path, skills, name: str = "doctor", dimension: str = "factuality"):
    path = folder / "labels.jsonl"
    rows = simulated_verdicts(truth, MODELS, dimension, skills, name=name)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return reference_of(read_labels(path), path.name)


def _answers(truth: dict[str, int], folder: Path) -> tuple[Path, Path]:
    files = []
    for model in MODELS:
        path = folder / f"{model}.jsonl"
        rows = [{"id": q, "question": f"问{q}", "prediction": f"{model}答{q}", "model": model} for q in truth]
        path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
        files.append(path)
    return files[0], files[1]


def test_a_judge_against_doctors_majority(tmp_path):
    truth = _truth(60)
    reference = _doctors(truth, tmp_path, [0.9, 0.9, 0.9])
    a, b = _answers(truth, tmp_path)
    # Files in the other order, and more questions than labels: only what is labelled is asked
    shown = with_answers(reference, read_pair(b, a, intersect=True))
    assert len(shown.pairs) == 60
    for pair in shown.pairs:
        assert pair.question.answers == (f"base答{pair.group}", f"sft答{pair.group}")
    better = {pair.id: truth[pair.group] for pair in shown.pairs}
    with OpenAIServer(answer=judge_that(lambda pair, _: better[pair], _shown(shown))) as server:
        found = ask(shown, _judge(server), tmp_path / "answers")
    assert found["dimensions"]["correctness"]["agreement"]["kappa"]["low"] > 0.8
    assert found["raters"]["factuality"]["raters"] == 3
    assert (found["basis"], found["passed"], found["passed_on"]) == ("all", True, "correctness")


def test_a_judges_verdicts_that_are_there_need_no_asking(tmp_path):
    truth = _truth(200)
    reference = _doctors(truth, tmp_path, [1.0])
    path = tmp_path / "verdicts.jsonl"
    good = simulated_verdicts(truth, MODELS, "correctness", [0.8], name="judge", seed=3)
    bad = simulated_verdicts(truth, MODELS, "correctness", [0.0], name="coin", seed=5)
    path.write_text("".join(json.dumps(row) + "\n" for row in [*good, *bad]), encoding="utf-8")
    found = compare(reference, read_labels(path))
    kappa = found["judge-1"]["dimensions"]["correctness"]["agreement"]["kappa"]
    assert kappa["low"] <= 0.8 <= kappa["high"]
    assert found["judge-1"]["passed"]
    coin = found["coin-1"]["dimensions"]["correctness"]["agreement"]["kappa"]
    assert coin["low"] <= 0.0 <= coin["high"]
    assert not found["coin-1"]["passed"]


def test_nobody_passes_by_simulated_raters(tmp_path):
    truth = _truth(50)
    reference = _doctors(truth, tmp_path, [1.0, 1.0], name="simulated")
    found = validation_of(reference, {"correctness": {pair.id: pair.labels["correctness"] for pair in reference.pairs}})
    assert found["dimensions"]["correctness"]["agreement"]["kappa"]["mean"] == 1.0
    assert not found["passed"]
    assert "SIMULATED" in found["what"]
    assert "simulated raters" in found["bar"]


def test_labels_on_other_answers_are_refused(tmp_path):
    reference = _doctors(_truth(5), tmp_path, [1.0])
    a, b = _answers(_truth(5), tmp_path)
    with pytest.raises(UserError, match="no label is on an answer of x and y; they are on base and sft"):
        with_answers(reference, read_pair(a, b, ("x", "y")))
    with pytest.raises(UserError, match="no verdict of the judge"):
        compare(reference, [])


def _pairs(labels: list[int], basis="all") -> Reference:
    pairs = tuple(LabelledPair(f"p{i}", f"g{i // 2}", ("a", "b"), {"usefulness": x}) for i, x in enumerate(labels))
    return Reference("x", "what", basis, pairs, {})


def test_without_labels_on_correctness_the_whole_decides():
    labels = [1, -1, 0, 1, -1, 0, 1, -1] * 5
    found = validation_of(_pairs(labels), {"usefulness": {f"p{i}": x for i, x in enumerate(labels)}})
    assert (found["passed"], found["passed_on"]) == (True, "overall")
    assert not validation_of(_pairs(labels), {"usefulness": dict.fromkeys(found, 0)})["passed"]
    assert not validation_of(_pairs(labels), {"usefulness": {f"p{i}": x for i, x in enumerate(labels)}}, 1.0)["passed"]


def test_a_kappa_that_is_above_the_bar_by_chance_does_not_pass():
    labels = [1, -1] * 15
    judged = {f"p{i}": x if i % 3 else -x for i, x in enumerate(labels)}
    found = validation_of(_pairs(labels), {"usefulness": judged})
    kappa = found["overall"]["agreement"]["kappa"]
    assert kappa["low"] < 0.2 < kappa["mean"]
    assert not found["passed"]


def test_pairs_of_one_question_are_no_independent_evidence():
    labels = [x for x in (1, -1, 1, 1, -1) * 8 for _ in range(2)]
    wrong = {i for i in range(40) if i % 4 == 0}
    judged = {"usefulness": {f"p{i}": -x if i // 2 in wrong else x for i, x in enumerate(labels)}}
    together = validation_of(_pairs(labels), judged)["overall"]
    pairs = tuple(dataclasses.replace(pair, group=pair.id) for pair in _pairs(labels).pairs)
    apart = validation_of(dataclasses.replace(_pairs(labels), pairs=pairs), judged)["overall"]
    for width in (lambda one: one["agreement"]["kappa"], lambda one: one["accuracy"]):
        assert width(together)["mean"] == width(apart)["mean"]
        assert width(together)["high"] - width(together)["low"] > 1.2 * (width(apart)["high"] - width(apart)["low"])


def test_a_coin_has_no_agreement_on_the_pairs_that_are_decided():
    labels = [1, 1, -1, -1] * 50
    coin = {"usefulness": {f"p{i}": 1 if i % 2 else -1 for i in range(200)}}
    found = validation_of(_pairs(labels, "decided"), coin)["overall"]
    for coefficient in ("kappa", "ac1", "alpha"):
        assert found["decided"][coefficient]["mean"] == pytest.approx(0.0, abs=0.01)
    assert found["accuracy"]["mean"] == 0.5


def test_a_headline_needs_a_judge_that_passed_with_this_prompt(tmp_path):
    labels = [1, -1, 0, 1, -1, 0, 1, -1] * 5
    good = validation_of(_pairs(labels), {"usefulness": {f"p{i}": x for i, x in enumerate(labels)}})
    bad = validation_of(_pairs(labels), {"usefulness": {}})
    path = tmp_path / "judge" / "validation.json"
    write_validation(path, {"good": {**good, "prompt": {"sha256": "1" * 64}}})
    content = write_validation(path, {"bad": bad})
    assert content == read_validation(path)
    assert headline_allowed(content, "good")[0]
    assert headline_allowed(content, "good", "1" * 64)[0]
    for validation, rater, sha256, why in (
        (None, "good", None, "never validated"),
        (content, "other", None, "never validated"),
        (content, "bad", None, "did not pass"),
        (content, "good", "2" * 64, "another prompt"),
    ):
        allowed, reason = headline_allowed(validation, rater, sha256)
        assert not allowed
        assert why in reason


def test_a_file_that_is_no_validation_is_not_written_over(tmp_path):
    path = tmp_path / "validation.json"
    for text in ('{"judges": {"a": {}}}', "[]", "{", '{"judges": 3}'):
        path.write_text(text, encoding="utf-8")
        with pytest.raises(UserError, match="no validation of judges"):
            write_validation(path, {})
        assert path.read_text(encoding="utf-8") == text
