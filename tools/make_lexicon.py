"""Make the lexicon of the recordings: src/pediatricsgpt/corpus/rules/lexicon.yaml and lexicon_right.yaml, by hand.

    python tools/make_lexicon.py FOLDER_OF_DATA

Terms are the packaged lists of symptoms, diseases and examinations (disease-kb, Apache-2.0), the drugs of `facts`, and
the everyday words below, as far as they stand in real texts of the folder (consultations, guidelines, instruction sets
under MIT, Apache-2.0 or as government documents), the most usual first. `right` is what the pass without it would
change in those texts, but for what sounds the same and is much rarer there than the term (a slip of the keyboard).
Every tenth sentence, by its hash, is held out from all of this: benchmarks/recordings.py tests on those.
"""

from __future__ import annotations

import hashlib
import re
import sys
from collections import Counter
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

from pediatricsgpt.corpus.sources.lexicon import correct, make_lexicon, syllables
from pediatricsgpt.facts.lexicon import lexicon as drugs
from pediatricsgpt.text import decode

RULES = Path(__file__).parents[1] / "src" / "pediatricsgpt" / "corpus" / "rules"
FILES = (
    "dialogues/*", "guidelines/nhc_json/*", "guidelines/nhc_txt/*", "distilled/bencao_llama_data.jsonl",
    "distilled/disc_medsft_examples.jsonl", "distilled/huatuo26m_test.json", "distilled/medicalgpt_sft_sharegpt.jsonl",
    "preferences/*",
)  # fmt: skip
MIN_COUNT, MAX_TERMS, SLIP = 8, 4000, 0.01
MISSPELT = {"黄胆"}
"""Usual misspellings, which are no words however often they stand in texts"""
EVERYDAY = """
胆汁 黄胆水
发热 发烧 高热 高烧 低热 低烧 退烧 退热 咳嗽 咳痰 流涕 鼻塞 打喷嚏 呕吐 恶心 干呕 吐奶 溢奶
呛奶 腹泻 拉肚子 便秘 腹痛 肚子痛 腹胀 胀气 便血 大便 小便 尿频 尿床 皮疹 湿疹 荨麻疹 水痘
麻疹 风疹 幼儿急疹 红疹 疱疹 瘙痒 黄疸 发黄 胆红素 嗜睡 抽搐 惊厥 抖动 惊跳 呼吸急促 呼吸困难
喘息 喘鸣 气促 发绀 精神 精神差 食欲 食欲不振 厌食 挑食 吃奶 喂奶 母乳 母乳喂养 混合喂养 配方奶
奶粉 辅食 断奶 体温 体重 身高 头围 囟门 出牙 口腔 口腔护理 溃疡 手足口病 疱疹性咽峡炎 扁桃体
咽炎 喉炎 支气管炎 肺炎 毛细支气管炎 哮喘 中耳炎 鼻炎 鼻窦炎 腺样体 结膜炎 流感 感冒 川崎病
腮腺炎 肠炎 胃肠炎 轮状病毒 诺如病毒 肠套叠 疝气 阑尾炎 贫血 缺铁 缺钙 佝偻病 维生素 血常规
尿常规 便常规 大便常规 胸片 彩超 心电图 脑电图 验血 化验 雾化 输液 打针 口服 外用 按体重
物理降温 退热贴 滴剂 混悬液 混悬滴剂 颗粒 糖浆 栓剂 疫苗 接种 预防接种 就诊 就医 复诊 复查 门诊
急诊 住院 隔离 传染 自愈 消退 早产儿 足月儿 新生儿 婴儿 幼儿 儿童 脐带 脐炎 红屁股 尿布疹
鹅口疮 肢体 四肢 脱水 补液 口服补液盐 生理性黄疸 病理性黄疸 持续高热
"""


def main() -> None:
    """Collect, test on the same texts, write."""
    runs = [run for run in sentences(Path(sys.argv[1])) if not held_out(run)]
    text = "\n".join(runs)
    names = [*EVERYDAY.split(), *packaged(), *sorted(drugs().entries)]
    counts = Counter(
        {name: text.count(name) for name in dict.fromkeys(names) if re.fullmatch(r"[\u4e00-\u9fff]{2,10}", name)}
    )
    kept = sorted(EVERYDAY.split() + [name for name in counts if counts[name] >= MIN_COUNT and name not in EVERYDAY],
                  key=lambda name: (-counts[name], name))[:MAX_TERMS]  # fmt: skip
    lexicon = make_lexicon(kept)
    changed = Counter((one.heard, one.meant) for run in runs for one in correct(run, lexicon)[1])
    right = sorted({heard for (heard, meant), number in changed.items() if number > max(1, SLIP * counts[meant])
                    or text.count(heard) > max(2, SLIP * counts[meant]) or syllables(heard) != syllables(meant)
                    } - MISSPELT)  # fmt: skip
    slips = [f"{heard}->{meant} {number}" for (heard, meant), number in changed.most_common() if heard not in right]
    print(f"{len(runs)} sentences, {len(kept)} terms, {len(right)} right; left as slips: {len(slips)}: {slips[:200]}")
    write("lexicon", "terms", kept, "Medical terms that a recogniser takes for other words, the most usual first")
    write("lexicon_right", "right", right, "What sounds like a term, and stands in real texts as it is")


def sentences(folder: Path) -> Iterator[str]:
    """Distinct runs of Chinese characters of the texts, in their order."""
    seen = set()
    for pattern in FILES:
        for path in sorted(folder.glob(pattern)):
            for run in re.findall(r"[\u4e00-\u9fff]{4,}", decode(path.read_bytes()).text):
                if run not in seen:
                    seen.add(run)
                    yield run


def held_out(run: str) -> bool:
    """Whether a sentence is kept for testing."""
    return hashlib.sha256(run.encode()).digest()[0] % 10 == 0


def packaged() -> list[str]:
    """The lists of the disease graph."""
    folder = resources.files("pediatricsgpt.corpus.build").joinpath("entities")
    return [
        line
        for name in ("symptom", "disease", "check")
        for line in folder.joinpath(f"{name}.txt").read_text(encoding="utf-8").split()
        if not line.startswith("#")
    ]


def write(name: str, key: str, words: list[str], title: str) -> None:
    """Write a list, many words a line."""
    lines, line = (
        [f"# {title}. Made by tools/make_lexicon.py, which says from what: change it there.", f"{key}: >-"],
        "",
    )
    for word in words:
        if len(line) + len(word) > 56:
            lines, line = [*lines, f"  {line}"], ""
        line = f"{line} {word}".strip()
    (RULES / f"{name}.yaml").write_text("\n".join([*lines, f"  {line}", ""]), encoding="utf-8")


if __name__ == "__main__":
    main()
