"""A named-entity model is added to the rules; here a tiny one with random weights, which is its own reference."""

from __future__ import annotations

from pathlib import Path

import pytest

from pediatricsgpt.corpus.deidentify import Deidentifier, find, finder_of
from pediatricsgpt.corpus.deidentify.find import union
from pediatricsgpt.corpus.deidentify.ner import TokenClassifier
from pediatricsgpt.corpus.settings import DeidentifySettings
from pediatricsgpt.errors import UserError

pytest.importorskip("transformers")
TEXT = "我叫高思远，孩子昨晚发烧38.5度，吃了美林，没有再吐"


def save_model(folder: Path, labels: list[str]) -> Path:
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import BertConfig, BertForTokenClassification, PreTrainedTokenizerFast

    torch.manual_seed(3)
    vocabulary = {token: number for number, token in enumerate(["[PAD]", "[UNK]", *sorted(set(TEXT))])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="[UNK]", pad_token="[PAD]", model_max_length=16
    )
    fast.save_pretrained(folder)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=20,
        id2label=dict(enumerate(labels)),
        label2id={label: number for number, label in enumerate(labels)},
    )
    model = BertForTokenClassification(config)
    torch.nn.init.normal_(model.classifier.weight)
    model.save_pretrained(folder)
    return folder


def test_persons_of_the_model_join_those_of_the_rules(make, tmp_path: Path) -> None:
    folder = save_model(tmp_path, ["O", "B-PER"])
    seen = TokenClassifier(folder)(TEXT)
    assert seen
    assert sum(len(item.text) for item in seen) < len(TEXT)
    assert all(TEXT[item.start : item.end] == item.text for item in seen)
    settings = DeidentifySettings(ner_model=folder, surrogates="placeholder")
    _, _, with_model = Deidentifier(settings, 1)([make.dialogue(TEXT, "好")])
    _, _, without = Deidentifier(DeidentifySettings(surrogates="placeholder"), 1)([make.dialogue(TEXT, "好")])
    assert finder_of(settings)(TEXT) == union(TEXT, find(TEXT), seen)
    assert finder_of(DeidentifySettings()) is find
    assert with_model["name"] > without["name"] == len([item for item in find(TEXT) if item.kind == "name"])


def test_models_without_persons_and_folders_without_models_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no label of the model is a person"):
        TokenClassifier(save_model(tmp_path / "places", ["O", "B-LOC"]))
    with pytest.raises(UserError, match="no token-classification model"):
        TokenClassifier(tmp_path / "nowhere")
