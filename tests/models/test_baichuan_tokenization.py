"""Baichuan's tokenizer against SentencePiece itself, and the chat format against the token ids that it stands for."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from typing import Any

import pytest
import sentencepiece
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

from pediatricsgpt.errors import UserError
from pediatricsgpt.models import baichuan
from pediatricsgpt.models.baichuan.modelling import BaichuanForCausalLM
from pediatricsgpt.models.baichuan.sentencepiece import convert, read
from pediatricsgpt.models.baichuan.tokenization import ASSISTANT_ID, USER_ID, BaichuanTokenizer
from pediatricsgpt.models.encode import IGNORED, encode_dialogue, encode_prompt, end_of_turn
from pediatricsgpt.models.load import load
from pediatricsgpt.records import Message

# 86 free pieces put <reserved_106> at 195, where the published vocabulary has it.
RESERVED = ["\n", *(f"<free_{n}>" for n in range(85)), *(f"<reserved_{n}>" for n in range(120))]
AS_PUBLISHED: dict[str, Any] = {
    "add_dummy_prefix": False,
    "remove_extra_whitespaces": False,
    "normalization_rule_name": "identity",
}
TEXTS = [
    "宝宝发烧38.5℃怎么办？",
    "孩子咳嗽三天了，夜里咳得厉害，要不要去医院",
    "建议多喝水。体温超过38.5℃可以口服对乙酰氨基酚，不用慌。",
    "The child has had a fever for three days.",
    "两个  空格,\ttab\n换行\n\n段落 ",
    " 开头的空格",
    "𠮷野家🤒 ﬁ １２３ é e\u0301 \u3000 ☃",
    "<reserved_106>插话<reserved_107>",
    "▁本来的下划线",
    "",
    " ",
    "啊" * 200,
]
TALK = [
    Message(role="user", content="宝宝发烧38.5℃怎么办？\n急"),
    Message(role="assistant", content="建议多喝水。"),
    Message(role="user", content="要去医院吗"),
    Message(role="assistant", content="不用。"),
]
TOKENIZER_CONFIG = {
    "add_bos_token": False,
    "add_eos_token": False,
    "auto_map": {"AutoTokenizer": ["tokenization_baichuan.BaichuanTokenizer", None]},
    "clean_up_tokenization_spaces": False,
    "model_max_length": 4096,
    "sp_model_kwargs": {},
    "tokenizer_class": "BaichuanTokenizer",
    **{
        name: {
            "__type": "AddedToken",
            "content": content,
            "lstrip": False,
            "normalized": True,
            "rstrip": False,
            "single_word": True,
        }
        for name, content in (("eos_token", "</s>"), ("pad_token", "<unk>"), ("unk_token", "<unk>"))
    },
}


def trained(folder: Path, **options: Any) -> Any:
    """A SentencePiece processor, its file beside it as `tokenizer.model`."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TEXTS[:6] * 20),
        model_writer=model,
        model_type="bpe",
        vocab_size=700,
        byte_fallback=True,
        user_defined_symbols=RESERVED,
        hard_vocab_limit=False,
        minloglevel=2,
        **options,
    )
    (folder / "tokenizer.model").write_bytes(model.getvalue())
    return sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder with what the published ones have: no tokenizer.json, remote code, weights as a pickle."""
    path = tmp_path_factory.mktemp("baichuan")
    processor = trained(path, **AS_PUBLISHED)
    (path / "tokenizer_config.json").write_text(json.dumps(TOKENIZER_CONFIG))
    (path / "generation_config.json").write_text(json.dumps({"user_token_id": 195, "assistant_token_id": 196}))
    config = baichuan.BaichuanConfig(
        vocab_size=len(processor),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=2,
        model_max_length=128,
    )
    values = {key: value for key, value in config.to_dict().items() if key not in ("position_embedding", "dtype")}
    del values["max_position_embeddings"]
    values["auto_map"] = {
        "AutoConfig": "configuration_baichuan.BaichuanConfig",
        "AutoModelForCausalLM": "modeling_baichuan.BaichuanForCausalLM",
    }
    (path / "config.json").write_text(json.dumps({**values, "architectures": ["BaichuanForCausalLM"]}))
    torch.manual_seed(2)
    torch.save(BaichuanForCausalLM(config).state_dict(), path / "pytorch_model.bin")
    return path


@pytest.fixture(scope="module")
def processor(folder: Path) -> Any:
    return sentencepiece.SentencePieceProcessor(model_file=str(folder / "tokenizer.model"))


@pytest.fixture(scope="module")
def tokenizer(folder: Path) -> Any:
    baichuan.register(weights=False)
    return AutoTokenizer.from_pretrained(folder)


@pytest.mark.parametrize("text", TEXTS)
def test_ids_and_text_are_those_of_sentencepiece(tokenizer: Any, processor: Any, text: str) -> None:
    ids = tokenizer(text)["input_ids"]
    assert ids == processor.encode(text)
    assert tokenizer.decode(ids) == processor.decode(ids)


def test_the_files_own_handling_of_spaces_and_characters_is_followed(tmp_path: Path) -> None:
    processor = trained(tmp_path, add_dummy_prefix=False, remove_extra_whitespaces=True, normalization_rule_name="nfkc")
    converted = convert(read(tmp_path / "tokenizer.model"))
    assert converted.encode("ﬁ", add_special_tokens=False).ids == processor.encode("fi")
    for text in TEXTS[:4] + TEXTS[5:7] + ["a   b", "  两边  "]:
        assert converted.encode(text, add_special_tokens=False).ids == processor.encode(text), text


def test_a_file_that_puts_a_space_before_each_text_is_refused(tmp_path: Path) -> None:
    trained(tmp_path, add_dummy_prefix=True)
    with pytest.raises(UserError, match="a space before each text"):
        read(tmp_path / "tokenizer.model")


def test_a_users_text_can_hold_the_pieces_of_control_as_special_tokens(tokenizer: Any) -> None:
    assert tokenizer("好</s>")["input_ids"][-1] == tokenizer.eos_token_id == 2  # also behind a Chinese character
    assert (tokenizer.unk_token_id, tokenizer.pad_token_id, tokenizer.bos_token_id) == (0, 0, 1)
    assert tokenizer.convert_tokens_to_ids(["<reserved_106>", "<reserved_107>"]) == [USER_ID, ASSISTANT_ID]


def as_published(processor: Any, messages: list[Message]) -> list[int]:
    """The ids that the published chat code builds for the answer to a dialogue."""
    ids: list[int] = []
    for message in messages:
        ids += {"system": [], "user": [195], "assistant": [196]}[message["role"]]
        ids += processor.encode(message["content"])
    return [*ids, 196]


@pytest.mark.parametrize("turns", [1, 3])
@pytest.mark.parametrize("system", [False, True])
def test_a_prompt_has_the_published_ids(tokenizer: Any, processor: Any, turns: int, system: bool) -> None:
    messages = [Message(role="system", content="你是儿科医生。")] * system + TALK[:turns]
    assert encode_prompt(tokenizer, messages) == as_published(processor, messages)


def test_training_sees_the_published_ids_with_one_end_and_marks_the_answers(tokenizer: Any, processor: Any) -> None:
    encoded = encode_dialogue(tokenizer, TALK)
    assert encoded.input_ids == [*as_published(processor, TALK)[:-1], 2]
    first, last = (processor.encode(TALK[place]["content"]) for place in (1, 3))
    marked = [token for token in encoded.labels if token not in (IGNORED, 2)]
    assert marked == first + last
    assert encoded.labels[-len(last) - 1 :] == [*last, 2]
    assert end_of_turn(tokenizer) == 2


def test_every_answer_teaches_to_stop_where_the_next_turn_begins(tokenizer: Any, processor: Any) -> None:
    """The published fine-tuning labels the first token of the user's next turn with the end token."""
    talk = [*TALK, *TALK]
    encoded = encode_dialogue(tokenizer, talk)
    expected: list[int] = []
    for place in range(0, len(talk), 2):
        question, answer = (processor.encode(turn["content"]) for turn in talk[place : place + 2])
        expected += [2 if place else IGNORED, *[IGNORED] * (len(question) + 1), *answer]
    assert encoded.labels == [*expected, 2]
    assert encoded.input_ids.count(2) == 1


def test_an_answer_that_ends_in_byte_tokens_is_learnt_to_its_last_byte(tokenizer: Any, processor: Any) -> None:
    talk = [Message(role="user", content="在吗"), Message(role="assistant", content="好🤒"), *TALK[2:3]]
    answer = processor.encode("好🤒")
    assert len(processor.encode("🤒")) == 4  # its bytes
    marked = encode_dialogue(tokenizer, [*talk, Message(role="assistant", content="退烧𠮷")])
    template, plain = tokenizer.chat_template, re.sub(r"\{%-? (end)?generation -?%\}", "", tokenizer.chat_template)
    assert plain != template
    tokenizer.chat_template = plain
    try:
        unmarked = encode_dialogue(tokenizer, [*talk, Message(role="assistant", content="退烧𠮷")])
    finally:
        tokenizer.chat_template = template
    assert marked == unmarked
    carrying = [token for token in marked.labels if token != IGNORED]
    assert carrying == [*answer, 2, *processor.encode("退烧𠮷"), 2]


def test_other_roles_are_refused(tokenizer: Any) -> None:
    with pytest.raises(Exception, match="Baichuan knows the roles"):
        tokenizer.apply_chat_template([*TALK[:1], {"role": "system", "content": "late"}])


def test_turn_tokens_are_left_out_of_decoded_answers(tokenizer: Any) -> None:
    ids = encode_prompt(tokenizer, TALK[2:3])
    assert tokenizer.decode(ids, skip_special_tokens=True) == TALK[2]["content"]


def test_a_folder_with_remote_code_opens_without_running_it(folder: Path) -> None:
    loaded = load(folder)
    assert type(loaded.model) is BaichuanForCausalLM
    assert type(loaded.tokenizer) is BaichuanTokenizer
    assert loaded.model.config.position_embedding == "alibi"
    stored = torch.load(folder / "pytorch_model.bin")
    assert all(torch.equal(weight.cpu(), stored[name]) for name, weight in loaded.model.state_dict().items())
    prompt = torch.tensor([encode_prompt(loaded.tokenizer, TALK[:1])], device=loaded.model.device)
    out = loaded.model.generate(prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=4, do_sample=False)
    assert out.shape[1] > prompt.shape[1]


def test_a_saved_tokenizer_comes_back_without_the_original_file(tokenizer: Any, folder: Path, tmp_path: Path) -> None:
    loaded = load(folder)
    loaded.model.save_pretrained(tmp_path)
    loaded.tokenizer.save_pretrained(tmp_path)
    (tmp_path / "tokenizer.model").unlink(missing_ok=True)
    again = load(tmp_path).tokenizer
    assert again.chat_template == tokenizer.chat_template
    assert encode_dialogue(again, TALK) == encode_dialogue(tokenizer, TALK)
    assert (again.padding_side, again.pad_token_id, again.eos_token_id) == ("left", 0, 2)
    assert [again(text)["input_ids"] for text in TEXTS] == [tokenizer(text)["input_ids"] for text in TEXTS]
    assert "auto_map" not in (tmp_path / "tokenizer_config.json").read_text()


def test_the_template_of_a_folder_is_kept(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "tokenizer.model").write_bytes((folder / "tokenizer.model").read_bytes())
    (tmp_path / "chat_template.jinja").write_text("{{ messages[0]['content'] }}")
    assert BaichuanTokenizer.from_pretrained(tmp_path).chat_template == "{{ messages[0]['content'] }}"


@pytest.mark.parametrize(
    "content",
    [b"version https://git-lfs.github.com/spec/v1\noid sha256:79452955be\nsize 2001107\n", b"", b"\x0a\xff\xff\x01"],
    ids=["pointer", "empty", "torn"],
)
def test_a_file_that_is_no_model_is_said_in_one_line(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "tokenizer.model").write_bytes(content)
    with pytest.raises(UserError, match="SentencePiece model") as caught:
        read(tmp_path / "tokenizer.model")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "content",
    [b"\x08\x05", b"\x0a\x00", b"\x0a\x02\x08\x01", b"\x10\x01", b"\x18\x01", b"\x12\x03\xe8\x02\x01"],
    ids=["a number for a piece", "an empty piece", "a number for a text", "for training", "for normalising", "a name"],
)
def test_bytes_that_read_as_other_fields_are_no_model(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "tokenizer.model").write_bytes(content)
    with pytest.raises(UserError, match=r"no SentencePiece model \(damaged"):
        read(tmp_path / "tokenizer.model")


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=24))
def test_no_bytes_end_in_anything_but_one_line(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "tokenizer.model").write_bytes(content)
    with pytest.raises(UserError, match="SentencePiece model") as caught:
        read(tmp_path / "tokenizer.model")
    assert "\n" not in str(caught.value)


def test_a_model_of_another_algorithm_is_refused(tmp_path: Path) -> None:
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TEXTS[:6] * 20),
        model_writer=model,
        model_type="unigram",
        vocab_size=120,
        hard_vocab_limit=False,
        minloglevel=2,
    )
    (tmp_path / "tokenizer.model").write_bytes(model.getvalue())
    with pytest.raises(UserError, match="not of the BPE kind"):
        read(tmp_path / "tokenizer.model")
