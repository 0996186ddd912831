"""Phase 3: direct following preference optimisation (paper, section on DFPO).

With policy pi, frozen reference ref, preferred answer w and low answer l to a prompt x, per pair:

    -log sigmoid( beta * [ log pi(w|x)/ref(w|x) - log pi(l|x)/ref(l|x) ] ) + mu * NLL(w|x) / |w|

The preference term uses summed log-probabilities, the regulariser the mean over the preferred answer's tokens; a
batch's loss is the mean over its pairs. TRL's own `sft` loss term averages over all tokens of the batch instead, so
long answers would weigh more and accumulated batches would differ from full ones; hence this class.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from trl import DPOConfig, DPOTrainer

from pediatricsgpt.models.load import load
from pediatricsgpt.training.data import preference_set
from pediatricsgpt.training.phase import Job, arguments, run
from pediatricsgpt.training.settings import DfpoSettings


def train(job: Job, settings: DfpoSettings) -> dict[str, Any]:
    """Train all weights on preference pairs against the frozen model that came in; the result is a model folder.

    Returns:
        counts for the manifest.
    """
    loaded = load(job.model, dtype="float32", trainable=True)
    prepared = preference_set(job.data, loaded.tokenizer, settings.max_length)
    trainer = DfpoTrainer(
        model=loaded.model,
        ref_model=load(job.model, dtype="float32").model,
        args=arguments(DPOConfig, job, settings, beta=settings.beta),
        train_dataset=prepared.dataset,
        processing_class=loaded.tokenizer,
        mu=settings.mu,
    )
    return run(trainer, job, loaded, prepared)


def answer_log_probabilities(model: Any, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Summed log-probability of each sequence's answer, and the number of its tokens.

    Args:
        batch: `input_ids`, `attention_mask` and `completion_mask`, each `[sequences, length]`; the mask is 1 on the
            answer's tokens.

    Returns:
        two tensors of shape `[sequences]`, in nats and in tokens.
    """
    logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], use_cache=False).logits
    targets, mask = batch["input_ids"][:, 1:], batch["completion_mask"][:, 1:].bool()
    per_token = -functional.cross_entropy(logits[:, :-1].float().transpose(1, 2), targets, reduction="none")
    return (per_token * mask).sum(dim=1), mask.sum(dim=1)


class DfpoTrainer(DPOTrainer):
    """TRL's DPO trainer with the loss of the paper. `mu` = 0 is plain DPO."""

    # The loss divides by the pairs of the whole optimiser step (`_get_num_items_in_batch`), so the trainer must not.
    loss_is_scaled_for_ga = True

    def __init__(self, *args: Any, mu: float, **kwargs: Any) -> None:
        self.mu = mu
        super().__init__(*args, **kwargs)

    def _prepare_dataset(self, dataset: Any, *args: Any, **kwargs: Any) -> Any:
        """Our pairs are token ids already."""
        return dataset

    def _get_num_items_in_batch(self, batch_samples: list[dict[str, Tensor]], device: Any) -> Any:
        """Pairs in all micro-batches of one optimiser step: the last one may be smaller, and must not weigh more."""
        del device
        return sum(len(batch["input_ids"]) // 2 for batch in batch_samples)

    def compute_loss(
        self, model: Any, inputs: dict[str, Tensor], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """Mean over the pairs of a batch; the first half of the sequences is preferred, the second half low.

        With `num_items_in_batch`, the pairs of the whole step: this micro-batch's part of their mean.
        """
        policy, lengths = answer_log_probabilities(model, inputs)
        with torch.no_grad():
            reference, _ = answer_log_probabilities(self.ref_model, inputs)
        preferred, low = (policy - reference).chunk(2)
        preference = -functional.logsigmoid(self.beta * (preferred - low))
        likelihood = -policy.chunk(2)[0] / lengths.chunk(2)[0]
        pairs = len(preference) if num_items_in_batch is None else num_items_in_batch
        loss = (preference + self.mu * likelihood).sum() / pairs
        self._record(preference, likelihood, policy, reference, lengths)
        return (loss, {}) if return_outputs else loss

    def _record(
        self, preference: Tensor, likelihood: Tensor, policy: Tensor, reference: Tensor, lengths: Tensor
    ) -> None:
        """Log both terms, the log-probabilities, and the accuracy of the rewards, plain and per token."""
        with torch.no_grad():
            rewards = self.beta * (policy - reference)
            chosen, rejected = rewards.chunk(2)
            chosen_mean, rejected_mean = (rewards / lengths).chunk(2)
            values = {
                "loss/preference": preference.mean(),
                "loss/likelihood": likelihood.mean(),
                "logps/chosen": policy.chunk(2)[0].mean(),
                "logps/rejected": policy.chunk(2)[1].mean(),
                "rewards/chosen": chosen.mean(),
                "rewards/rejected": rejected.mean(),
                "rewards/margins": (chosen - rejected).mean(),
                "rewards/accuracies": (chosen > rejected).float().mean(),
                "rewards/accuracies_length_normalised": (chosen_mean > rejected_mean).float().mean(),
            }
        mode = "train" if self.model.training else "eval"
        for name, value in values.items():
            self._metrics[mode][name].append(self.accelerator.gather_for_metrics(value).mean().item())
