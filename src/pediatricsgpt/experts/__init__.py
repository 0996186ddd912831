"""The mixture of universal-specific experts (phase 4): a PEFT tuner with a token-wise router in every layer.

Importing this package registers the tuner with PEFT; import it before loading a saved adapter:

    from pediatricsgpt.experts import ExpertsConfig, get_peft_model

    model = get_peft_model(base_model, ExpertsConfig(r=8, num_experts=3, task_type="CAUSAL_LM"))

Source: PediatricsGPT (NeurIPS 2024, arXiv 2405.19266), the mixture of universal-specific experts.
"""

from peft import get_peft_model

from pediatricsgpt.experts.config import EXPERTS_PEFT_TYPE, ExpertsConfig
from pediatricsgpt.experts.layer import ExpertsLinear
from pediatricsgpt.experts.statistics import RoutingStatistics
from pediatricsgpt.experts.tuner import ExpertsModel, register, with_balance

register()

__all__ = [
    "EXPERTS_PEFT_TYPE",
    "ExpertsConfig",
    "ExpertsLinear",
    "ExpertsModel",
    "RoutingStatistics",
    "get_peft_model",
    "register",
    "with_balance",
]
