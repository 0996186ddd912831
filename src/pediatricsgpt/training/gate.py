"""The forgetting gate and early stopping: held-out losses, measured while a phase trains.

Sets that the phase must not forget (general rows, those of earlier phases) are guarded: their loss may not rise by more
than the recipe allows against the model that came in. The phase's own held-out rows say which checkpoint is best.

The loss is the mean negative log-likelihood of all tokens that carry loss, in nats; of preference pairs that are
guarded, of their preferred answers. That of preference training's own pairs is DFPO's objective with the model that
came in as the reference.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from rich.console import Console
from transformers import TrainerCallback
from transformers.trainer_callback import ExportableState

from pediatricsgpt.curves import HELD_OUT, OWN
from pediatricsgpt.training.held_out import Held, LogLikelihood, Objective, log_likelihoods, loss
from pediatricsgpt.training.meter import Meter, restored
from pediatricsgpt.training.metrics import Metrics
from pediatricsgpt.training.settings import GateSettings
from pediatricsgpt.training.watch import TrainingFailed

_AT_LEAST = 4
"""Measurements while a phase trains, however short it is"""


@dataclass(slots=True)
class Standing:
    """Where the gate stands; a checkpoint holds it."""

    before: dict[str, float] = field(default_factory=dict)
    """Loss of each set under the model that came in"""
    latest: dict[str, float] = field(default_factory=dict)
    references: dict[str, list[LogLikelihood]] = field(default_factory=dict)
    """Of preference sets: what the model that came in made of each answer"""
    best_step: int = 0
    """The best checkpoint that obeys; 0 where there is none yet"""
    best_loss: float = math.inf
    without_gain: int = 0
    """Measurements since then"""
    stopped: str = ""
    """Why the phase ended before its last step, or why its last step is not what is kept"""
    kept_step: int = 0
    """The step whose weights are the result, where it is not the last one"""


class ForgettingGate(TrainerCallback, ExportableState):  # type: ignore[misc]
    """Measures held-out losses before the first step, every so many steps and after the last one."""

    def __init__(
        self,
        sets: Mapping[str, Held],
        settings: GateSettings,
        metrics: Metrics,
        meter: Meter,
        say: Callable[[str], None],
        objective: Objective,
    ) -> None:
        """Prepare a gate.

        Args:
            sets: what is watched, by name; `own` is the phase's own, all others are guarded.
            settings: how often, how many rows, and what is allowed.
            metrics: the log that gets the losses.
            meter: to which a measurement is no training.
            say: tells a person.
            objective: of preference training, for its held-out pairs.
        """
        self.standing = Standing()
        self._sets = {name: held if name == OWN else _plain(held) for name, held in sets.items()}
        self._settings = settings
        self._metrics, self._meter, self._say, self._objective = metrics, meter, say, objective

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {"args": {}, "attributes": asdict(self.standing)}

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Measure the model that came in, or remember how it was."""
        held = restored(self, state)
        if held:
            self.standing = Standing(**held)
            return
        self.standing = Standing()
        self.standing.before = self._measure(kwargs["model"])
        self._metrics.write(state, self._logged())
        self._meter.skip()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Measure where it is due, and judge."""
        last = state.global_step >= state.max_steps
        every = min(self._settings.every_steps, max(1, state.max_steps // _AT_LEAST))
        if not (last or state.global_step % every == 0):
            return
        self._measure(kwargs["model"])
        self._metrics.add(self._logged())
        control.should_log = True
        self._judge(args, state, control, last)
        self._meter.skip()

    def _measure(self, model: Any) -> dict[str, float]:
        standing = self.standing
        for name, held in self._sets.items():
            found = log_likelihoods(model, held)
            if held.pairs and name not in standing.references:
                standing.references[name] = found
            standing.latest[name] = loss(held, found, standing.references.get(name), self._objective)
        return dict(standing.latest)

    def _logged(self) -> dict[str, float]:
        return {f"{HELD_OUT}{name}": value for name, value in self.standing.latest.items()}

    def _judge(self, args: Any, state: Any, control: Any, last: bool) -> None:
        standing, step = self.standing, state.global_step
        broken = self._broken()
        own = standing.latest.get(OWN, -math.inf)  # without one, the newest that obeys is the best
        better = not broken and (own < standing.best_loss or OWN not in standing.latest)
        if better:
            standing.best_step, standing.best_loss, standing.without_gain = step, own, 0
            state.best_global_step = step
            control.should_save = True
        elif not broken:
            standing.without_gain += 1
        if state.is_world_process_zero:
            self._say(f"step {step}: held-out loss {self._told()}{', the best so far' if better else ''}")
        patience = self._settings.patience
        if broken:
            self._stop(broken, args, state, control)
        elif patience is not None and standing.without_gain >= patience:
            reason = f"held-out loss of this phase's own rows did not fall in {standing.without_gain} measurements"
            self._stop(reason, args, state, control)
        elif last and patience is not None and standing.best_step != step:
            self._stop("an earlier step has the lower held-out loss of this phase's own rows", args, state, control)

    def _broken(self) -> str:
        """Which set rose by too much; empty where none did."""
        allowed = self._settings.max_rise
        for name, before in self.standing.before.items():
            now = self.standing.latest[name]
            if name != OWN and allowed is not None and not now - before <= allowed:
                rise = f"held-out loss of '{name}' rose by {now - before:.3f} nats a token ({before:.3f} to {now:.3f})"
                return f"{rise}, more than gate.max_rise {allowed:g}"
        return ""

    def _stop(self, reason: str, args: Any, state: Any, control: Any) -> None:
        standing, step = self.standing, state.global_step
        if not standing.best_step:
            self._metrics.write(state, self._logged())
            raise TrainingFailed(
                f"stopped at step {step}: {reason}, and no earlier checkpoint obeys. Try a lower "
                f"trainer.learning_rate than {args.learning_rate:g}, more general rows in the set, a smaller "
                "gate.every_steps, or allow more with gate.max_rise"
            )
        standing.stopped = f"at step {step}: {reason}; step {standing.best_step} is kept"
        standing.kept_step = standing.best_step
        args.load_best_model_at_end = True  # the trainer's own way back, for sharded models too
        control.should_training_stop = True
        if state.is_world_process_zero:
            self._say(f"stopped {standing.stopped}")

    def _told(self) -> str:
        before = self.standing.before
        return ", ".join(f"{name} {now:.3f} ({now - before[name]:+.3f})" for name, now in self.standing.latest.items())


def _plain(held: Held) -> Held:
    """A guarded set: of preference pairs the preferred answers, whose loss is in nats a token as that of the others."""
    return replace(held, sequences=held.sequences[0::2], pairs=False) if held.pairs else held


def counts_of(standing: Standing, sets: Mapping[str, Held]) -> dict[str, Any]:
    """What a phase's manifest says of its gate."""
    kept = {"kept_step": standing.kept_step} if standing.kept_step else {}
    stopped = {"stopped": standing.stopped} if standing.stopped else {}
    losses = {
        name: {"before": round(before, 5), "after": round(standing.latest[name], 5), **sets[name].counts}
        for name, before in standing.before.items()
    }
    return {**kept, **stopped, **({"held_out": losses} if losses else {})}


def say_on(console: Console, name: str) -> Callable[[str], None]:
    """A function that tells a person what happens in a phase."""
    return lambda text: console.print(f"  {name}: {text}", highlight=False, soft_wrap=True, markup=False)
