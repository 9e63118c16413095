"""RECAP (π*0.6, arXiv 2511.14759): learn from everything, conditioned on whether it was better than usual.

    r_t      =  −1 per tick; at the end 0 on success, −C_fail on failure
    V(o)     =  E[R | o, task]             a distribution over 201 bins, fitted to the Monte-Carlo returns
    A_t      =  r_t + … + r_{t+N−1} + V(o_{t+N}) − V(o_t)
    I_t      =  [A_t > eps_task]           eps so that 40 % of a task's online draws are positive, corrections included
    loss     =  the policy's own, on all data, of pi(a | o, task, I), with I left out for 30 % of the samples

and the robots act on I = positive. What a person did is positive without asking V: corrections, as the paper has it,
and demonstrations, for which it fixes the indicator too. Where a task has shown no failure or no success yet, V can't
tell good from bad: the policy's own frames then train without an indicator, so that "positive" stands for what people
do. That is behaviour cloning, and `alarm` says so.

`value: frozen` labels by a value function that was fitted offline (`fleetloop recap fit`), as SOP does. `value: live`
refits it behind the running learner, thresholds included, and switches version between two steps.

The arithmetic is in `recap_value.py`, one version's labels in `recap_judgement.py`, its fit in `recap_fit.py`, to the
frames in `recap_lessons.py`.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from fleetloop.algorithms.recap_options import RecapOptions
from fleetloop.algorithms.recap_value import NONE
from fleetloop.core.alarm import Alarms
from fleetloop.core.algorithm import FrameLabels, Refresh
from fleetloop.core.episode import Episode
from fleetloop.core.errors import ConfigInvalid
from fleetloop.core.policy import Batch, Tensor, TrainablePolicy

if TYPE_CHECKING:
    from fleetloop.algorithms.recap_judgement import Judgement


class Recap:
    """RECAP. Torch is imported when it is set up: the configuration can name it without."""

    name: ClassVar[str] = "recap"
    Options: ClassVar[type[RecapOptions]] = RecapOptions
    conditions: ClassVar[frozenset[str]] = frozenset({"positive", "negative"})
    condition: ClassVar[str] = "positive"

    def __init__(self, options: RecapOptions) -> None:
        self.options = options
        self._alarms = Alarms()
        self._value = ""  # what its values come from
        self._judgement: Judgement  # one object, replaced as a whole: a thread that labels sees one version
        self._known: frozenset[str] = frozenset()  # episodes of the last refresh
        self._beginning = 0  # the step at which it began
        self._began = 0  # the step at which the version in force began

    def setup(self, policy: TrainablePolicy) -> None:
        """Raises ConfigInvalid if the policy offers no critic, or the value file is not of this policy or, frozen, was
        fitted under other options."""
        from fleetloop.algorithms.recap_file import check_options, file_hash, read_judgement
        from fleetloop.algorithms.recap_judgement import blank

        judgement, file = blank(policy, self.options), self.options.value_file
        self._adopt(read_judgement(file, judgement.critic) if file else judgement)
        self._value = "live"
        if file and self.options.value == "frozen":
            check_options(file, self.options)
            self._value = file_hash(file)

    # ------------------------------------------------------------------ labels

    @property
    def version(self) -> int:
        return self._judgement.version

    @property
    def alarm(self) -> str:
        return self._alarms.text

    def label(self, episode: Episode) -> FrameLabels:
        judgement, task = self._judgement, episode.meta.task
        if judgement.version and task not in judgement.scales:
            self._alarms.set(task, "the value function has never seen it; what people do is cloned")
        return judgement.label(episode)

    def loss(self, policy: TrainablePolicy, batch: Batch, *, rng: Tensor) -> Tensor:
        """The policy's own loss, the indicator left out for some samples."""
        import torch

        dropped = torch.rand(len(batch), generator=rng).numpy() < self.options.drop
        indicator = batch.indicator.copy()
        indicator[dropped] = NONE
        return policy.loss(replace(batch, indicator=indicator), rng=rng)

    # ------------------------------------------------------------------ the next version

    def refresh(self, episodes: Mapping[str, Episode], step: int) -> Refresh | None:
        """Live: every `refresh_every` steps, if an episode has come since."""
        if self.options.value == "frozen" or step < self._began + self.options.refresh_every:
            return None
        held = frozenset(episodes)
        if held <= self._known:
            return None
        from fleetloop.algorithms.recap_fit import ValueFit

        self._known, self._beginning = held, step
        steps = self.options.refresh_steps if self.version else self.options.value_steps
        return ValueFit(self._judgement, episodes, self.options, steps)

    def switch(self, refresh: Refresh) -> None:
        from fleetloop.algorithms.recap_fit import ValueFit

        assert isinstance(refresh, ValueFit)
        self._began = self._beginning
        self._adopt(refresh.judgement)

    def _adopt(self, judgement: "Judgement") -> None:
        for task, scale in judgement.scales.items():
            if scale.missing:
                self._alarms.set(task, f"no {scale.missing} yet: good can't be told from bad; what people do is cloned")
            else:
                self._alarms.clear(task)
        self._judgement = replace(judgement, intervention_weight=self.options.intervention_weight)

    # ------------------------------------------------------------------ restart

    def state_dict(self) -> Mapping[str, Any]:
        """The judgement, and when it was begun; a refresh under way is due again. A frozen one is in its file."""
        if self.options.value == "frozen":
            return {"value": self._value}
        return {"value": self._value, "began": self._began, **self._judgement.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Raises ConfigInvalid if the run was begun with other values."""
        from fleetloop.algorithms.recap_judgement import Judgement

        if state["value"] != self._value:
            where, remedy = "algorithm.options.value", "put the old values back, or start in a new directory"
            raise ConfigInvalid(where, "or its value_file is not what this run began with", remedy)
        if self.options.value == "frozen":
            return
        self._began = int(state["began"])
        self._adopt(Judgement.from_state(state, self._judgement.critic, "the checkpoint's value function"))
