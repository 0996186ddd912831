"""`pedgpt consult`, as a user calls it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from typer.testing import CliRunner, Result

from pediatricsgpt.cli.consult import consult
from tests.evaluation.consultation.test_card import card
from tests.openai_server import Fault, OpenAIServer

app = typer.Typer()
app.command()(consult)


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def says(body: Mapping[str, Any]) -> str:
    """Asks three things, then concludes."""
    turns = sum(message["role"] == "assistant" for message in body["messages"])
    return "孩子多大？发烧吗？喘不喘？" if turns == 0 else "考虑支气管炎，请立即去医院。"


@pytest.fixture
def cards(tmp_path: Path) -> Path:
    folder = tmp_path / "cards"
    folder.mkdir()
    own = [card(), card(id="second")]
    (folder / "own.yaml").write_text(yaml.safe_dump(own, allow_unicode=True), encoding="utf-8")
    return folder


def test_a_model_at_an_address_is_scored_and_a_second_call_asks_nothing(tmp_path: Path, cards: Path) -> None:
    with OpenAIServer(answer=says) as server:
        call = ["--api", server.base_url, "--model", "m", "--cards", cards, "--out", tmp_path / "out"]
        first = run(*call)
        assert first.exit_code == 0, first.output
        asked = len(server.requests)
        second = run(*call)
        assert len(server.requests) == asked == 2  # the two cards say the same: each turn is paid for once
    found = json.loads((tmp_path / "out" / "consultations.json").read_text("utf-8"))
    assert found["model"] == "m"
    assert found["measures"]["facts_elicited"]["mean"] == pytest.approx(2 / 3)
    assert found["measures"]["danger_recognised"] == {
        "mean": 1.0,
        "low": pytest.approx(0.025 ** (1 / 2)),
        "high": 1.0,
        "n": 2,
    }
    assert found["measures"]["asked_weight"]["mean"] == 0.0
    assert len((tmp_path / "out" / "transcripts.jsonl").read_text("utf-8").splitlines()) == 2
    assert "facts elicited" in first.output
    assert "未经医生审核" in first.output
    assert second.output == first.output


def test_the_packaged_cards_are_taken_without_a_folder(tmp_path: Path) -> None:
    with OpenAIServer(answer=says) as server:
        found = run("--api", server.base_url, "--model", "m", "--max-cards", 3, "--out", tmp_path / "out")
    assert found.exit_code == 0, found.output
    assert len((tmp_path / "out" / "transcripts.jsonl").read_text("utf-8").splitlines()) == 3


def test_a_caregiver_at_an_address_that_answers_prose_is_replaced_and_said(tmp_path: Path, cards: Path) -> None:
    with OpenAIServer(answer=says) as server, OpenAIServer(answer=lambda body: "孩子病了") as parent:
        found = run(
            *("--api", server.base_url, "--model", "m", "--cards", cards, "--out", tmp_path / "out"),
            *("--caregiver-api", parent.base_url, "--caregiver-model", "parent"),
        )
    assert found.exit_code == 0, found.output
    assert "2 of 2 replies of the caregiver's model were replaced" in " ".join(found.output.split())
    assert json.loads((tmp_path / "out" / "consultations.json").read_text("utf-8"))["caregiver"] == "parent"


def test_a_server_that_fails_loses_nothing(tmp_path: Path, cards: Path) -> None:
    content = yaml.safe_load((cards / "own.yaml").read_text("utf-8"))
    content[1]["complaint"] = "医生，孩子咳得厉害。"
    (cards / "own.yaml").write_text(yaml.safe_dump(content, allow_unicode=True), encoding="utf-8")
    with OpenAIServer(answer=says) as server:
        call = ["--api", server.base_url, "--model", "m", "--cards", cards, "--out", tmp_path / "out"]
        server.script += [Fault(), Fault(status=400, text="content filter")]
        broken = run(*call, "--concurrency", 1)
        assert broken.exit_code != 0
        assert "content filter" in str(broken.exception)
        assert run(*call).exit_code == 0
        assert sum(server.answered.values()) == 4


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "MODEL: name one model"),
        (("folder", "--api", "http://127.0.0.1:1/v1"), "MODEL: name one model"),
        (("folder", "--model", "m"), "--model: this belongs to an address"),
        (("--api", "http://127.0.0.1:1/v1"), "--model: which model"),
        (("--api", "http://example.org/v1", "--model", "m"), "--api: http://example.org/v1 is not on this machine"),
        (("folder", "--caregiver-model", "m"), "--caregiver-model: this belongs to a caregiver"),
        (("folder", "--caregiver-api", "http://127.0.0.1:1/v1"), "--caregiver-model: which model"),
        (
            ("folder", "--caregiver-api", "nowhere", "--caregiver-model", "m"),
            "--caregiver-api: 'nowhere' is no address",
        ),
        (("folder", "--cards", "/no/such/folder"), "/no/such/folder: no such folder of cards"),
    ],
)
def test_wrong_options_are_said_in_one_line(tmp_path: Path, arguments: tuple[str, ...], said: str) -> None:
    found = run(*arguments, "--out", tmp_path / "out")
    assert str(found.exception).startswith(said), found.output
    assert not (tmp_path / "out").exists()


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine", encoding="utf-8")
    assert "this is a file; name a folder" in str(run("folder", "--out", tmp_path / "out").exception)
    assert (tmp_path / "out").read_text("utf-8") == "mine"
