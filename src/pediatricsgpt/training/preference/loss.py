"""DFPO's loss of pairs from the log-probabilities of their answers, and what is logged of it."""

from __future__ import annotations

import torch
from torch.nn import functional

CHANGE = "logps/chosen_change_per_token"
"""Of the preferred answers against the reference, which is where training starts; in nats a token"""


def losses(
    policy: torch.Tensor, reference: torch.Tensor, lengths: torch.Tensor, beta: float, mu: float
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """The loss of each pair.

    Args:
        policy: [pairs, 2] summed log-probabilities of the preferred and the low answers, in nats.
        reference: the same under the frozen reference.
        lengths: [pairs, 2] tokens of the answers.
        beta: strength of the preference term.
        mu: weight of the preferred answer's mean negative log-likelihood.

    Returns:
        [pairs], and by name what is logged, each [pairs] too and without a gradient.
    """
    change = policy - reference
    preference = -functional.logsigmoid(beta * (change[:, 0] - change[:, 1]))
    likelihood = -policy[:, 0] / lengths[:, 0]
    with torch.no_grad():
        rewards = beta * change
        per_token = rewards / lengths
        logged = {
            "loss/preference": preference.detach(),
            "loss/likelihood": likelihood.detach(),
            "logps/chosen": policy[:, 0].detach(),
            "logps/rejected": policy[:, 1].detach(),
            CHANGE: change[:, 0] / lengths[:, 0],
            "rewards/chosen": rewards[:, 0],
            "rewards/rejected": rewards[:, 1],
            "rewards/margins": rewards[:, 0] - rewards[:, 1],
            "rewards/accuracies": (rewards[:, 0] > rewards[:, 1]).float(),
            "rewards/accuracies_length_normalised": (per_token[:, 0] > per_token[:, 1]).float(),
        }
    return preference + mu * likelihood, logged
