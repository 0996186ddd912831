"""How the report says things: names in English and Chinese, and numbers for readers."""

from __future__ import annotations

from typing import Any

from pediatricsgpt.evaluation.compare.questions import ROLES as ROLES

MODEL_NAMES = {
    "base": ("base", "基座"),
    "cpt": ("CPT", "继续预训练"),
    "sft": ("SFT", "监督微调"),
    "dfpo": ("DFPO", "偏好优化"),
    "experts": ("experts", "专家混合"),
}
PHASE_TITLES = {
    "cpt": "1 · Continued pre-training (CPT)",
    "sft": "2 · Supervised fine-tuning (SFT)",
    "dfpo": "3 · Direct following preference optimisation (DFPO)",
    "experts": "4 · Mixture of universal-specific experts",
}
_LABELS = {
    "medkqa": ("MedKQ&A", "知识问答"),
    "evidiag": ("EviDiag", "循证问诊"),
    "trerecom": ("TreRecom", "治疗推荐"),
    "general": ("general", "通用"),
    "safety": ("safety", "安全"),
    "self": ("self-cognition", "自我认知"),
    "specialised": ("specialised", "专业资料"),
    "conversation": ("conversation", "真实医患对话"),
    "distilled": ("distilled", "蒸馏数据"),
    "behaviour": ("behaviour", "行为"),
    "plain": ("plain text", "纯文本"),
    "instruction": ("instructions", "指令"),
    "style": ("style", "文风"),
    "neonate": ("neonate < 28 d", "新生儿"),
    "young_infant": ("young infant < 3 mo", "小婴儿"),
    "infant": ("infant < 12 mo", "婴儿"),
    "toddler": ("toddler < 3 y", "幼儿"),
    "preschool": ("preschool < 6 y", "学龄前"),
    "school": ("school age < 12 y", "学龄"),
    "adolescent": ("adolescent < 18 y", "青少年"),
    "adult": ("adult", "成人"),
    "unknown": ("not said", "未知"),
    "none": ("no teacher: rules alone", "无教师模型"),
}
_PERSONAL = {
    "numbers": ("numbers", "号码与日期"),
    "names": ("names", "姓名"),
    "places": ("places", "地点"),
    "name": ("name", "姓名"),
    "patient_name": ("patient's name", "患儿姓名"),
    "parent_name": ("parent's name", "家长姓名"),
    "doctor_name": ("doctor's name", "医生姓名"),
    "surname_title": ("surname with title", "姓氏加称谓"),
    "nickname": ("nickname", "小名"),
    "id_card": ("ID card", "身份证号"),
    "phone": ("phone", "手机号"),
    "landline": ("landline", "座机号"),
    "wechat": ("WeChat", "微信号"),
    "qq": ("QQ", "QQ号"),
    "email": ("e-mail", "电子邮箱"),
    "url": ("link", "网址"),
    "bank_card": ("bank card", "银行卡号"),
    "plate": ("number plate", "车牌号"),
    "record_number": ("hospital number", "病案号"),
    "vaccination": ("vaccination number", "预防接种证号"),
    "birth_certificate": ("birth certificate", "出生医学证明编号"),
    "birth_date": ("date of birth", "出生日期"),
    "date": ("date (moved)", "日期（整体平移）"),
    "address": ("address", "住址"),
    "school": ("school", "学校"),
    "bed": ("bed", "床号"),
}
_STYLE = {
    "length": ("length", "长度"),
    "longer": ("longer than the other", "比另一侧长"),
    "greeting": ("greeting", "问候语"),
    "baby": ("says 宝宝", "称“宝宝”"),
    "list": ("list", "列表"),
    "lines": ("lines", "行数"),
    "exclamations": ("exclamation marks", "感叹号"),
    "polite_you": ("polite 您", "敬称“您”"),
    "wish": ("good wishes", "祝愿语"),
    "sentence_length": ("length of sentences", "句长"),
}
_STEPS = {
    "read": "读取",
    "deidentify": "去标识化",
    "clean": "清洗",
    "label": "标注",
    "quality": "质量过滤",
    "deduplicate": "去重",
    "split": "划分",
    "role_play": "角色扮演",
    "reconstruct": "对话重构",
    "distill": "蒸馏数据重构",
    "instructions": "指令汇总",
    "decontaminate": "测试集去污染",
    "preferences": "偏好对",
}
_NEARLY, _WHOLE = 99.95, 99.995
_METRICS = {"rouge-l": "ROUGE-L", "gleu": "GLEU"}


def label(value: str) -> tuple[str, str]:
    """English and Chinese name of a task, family, age band or other label; what is not ours stays as it is."""
    return _LABELS.get(value, (value, ""))


def personal(kind: str) -> tuple[str, str]:
    """English and Chinese name of a kind of personal data."""
    return _PERSONAL.get(kind, (kind, ""))


def style(name: str) -> tuple[str, str]:
    """English and Chinese name of a mark of style."""
    return _STYLE.get(name, (name, ""))


def step(name: str) -> str:
    """The Chinese name of a step of the corpus room; empty of others."""
    return _STEPS.get(name, "")


def model(name: str) -> str:
    """A model's name for a table."""
    return MODEL_NAMES.get(name, (name, ""))[0]


def metric(name: str) -> str:
    """A metric's name as papers print it."""
    return _METRICS.get(name) or name.replace("rouge", "ROUGE").replace("bleu", "BLEU").replace("distinct", "Distinct")


def number(value: Any) -> str:
    """A count with thousands separators; a dash where there is none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "–"
    return f"{value:,}" if isinstance(value, int) else f"{value:,.2f}"


def millions(parameters: int) -> str:
    """A model's size: `9.4 M`, `7.6 B`."""
    if parameters < 1_000_000:
        return f"{parameters / 1e6:.2f} M"
    return f"{parameters / 1e6:.1f} M" if parameters < 1_000_000_000 else f"{parameters / 1e9:.1f} B"


def duration(seconds: float) -> str:
    """A time for people: `0.4 s`, `42 s`, `3 min 05 s`, `2 h 10 min`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def memory(megabytes: int) -> str:
    """Peak memory in GiB, or in MiB where it is little."""
    return f"{megabytes / 1024:.1f} GiB" if megabytes >= 1024 else f"{megabytes} MiB"


def brief(value: float) -> str:
    """A value with about three digits and never an exponent; the minus is a real one."""
    size = abs(value)
    places = 0 if size >= 100 else 1 if size >= 10 else 2 if size >= 0.1 or not size else 4
    return f"{value:,.{places}f}".replace("-", "−")


def signed(value: float, places: int = 2) -> str:
    """A change with its sign; the minus is a real one."""
    return f"{value:+.{places}f}".replace("-", "−")


def day(finished: str) -> str:
    """A manifest's time stamp as `2025-11-22 09:34 +0000`."""
    return f"{finished[:10]} {finished[11:16]} {finished[19:]}".strip()


def percent(share: float) -> str:
    """A share for a table: `94.6 %`, `99.97 %`; only what is whole is shown as 100."""
    value = 100 * share
    return f"{value:.2f} %" if _NEARLY < value < _WHOLE else f"{value:.1f} %"


def shortened(text: str, limit: int) -> str:
    """A text cut to `limit` characters, saying how many are missing."""
    left = len(text) - limit
    return text if left <= 0 else f"{text[:limit]} … (+{left:,} characters)"


_BENCHMARKS = {
    "held_out": "held-out 留出集",
    "cmd": "CMD",
    "webmedqa": "webMedQA",
    "cmedqa2": "cMedQA2",
    "cmb": "CMB",
    "cmexam": "CMExam",
    "medqa-zh": "MedQA-zh",
    "pediabench": "PediaBench",
    "medkqa": "MedKQ&A",
    "evidiag": "EviDiag",
    "trerecom": "TreRecom",
}
_FIELDS = {
    "department": "department 按科室",
    "task": "task 按任务",
    "age_band": "age band 按年龄段",
    "subject": "subject 按学科",
    "kind": "kind of question 按题型",
    "theme": "theme 按主题",
}
_DIMENSIONS = {
    "usefulness": "usefulness 有用性",
    "correctness": "correctness 正确性",
    "consistency": "consistency 一致性",
    "fluency": "fluency 流畅性",
    "professionalism": "professionalism 专业性",
    "factuality": "factuality 事实性",
    "safety": "safety 安全性",
    "overall": "overall 总体",
}


def benchmark(name: str) -> str:
    """A benchmark's name as its authors write it; a label of the user's own stays as it is."""
    return _BENCHMARKS.get(name, name)


def field(name: str) -> str:
    """A label's name in English and Chinese."""
    return _FIELDS.get(name, name)


def kind(name: str) -> str:
    """A kind of question in words."""
    return name.replace("_", " ")


def dimension(name: str) -> str:
    """What answers are compared on, in English and Chinese."""
    return _DIMENSIONS.get(name, name)
