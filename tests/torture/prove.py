"""The checker, tested: the naive cache and each of the traps must be caught, and how soon."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from torture.mutants import MUTANTS, Mutant
from torture.run import PROMOTE, Plan, Stage, scratch
from torture.sentinel import cluster
from torture.servers import running
from torture.succession import succession
from torture.variants import JOURNALS, LIBRARY, NAIVE

ROUND = 2.5
"""Seconds the workers work before the checker looks."""
PROMOTION = 12.0
"""The same where a replica takes over meanwhile."""
ROUNDS = 6
COLD = 3
"""Rounds in a row in which Redis must have served next to nothing before it is called useless."""
CONTROLS = {
    LIBRARY: Mutant("itself, on a cluster", settings={"session_ttl_minutes": 0.02}, cluster=True, wiping=0.2),
    JOURNALS: Mutant("itself, writing to journals", ("flush", "kill-worker", "expire"), journals=True),
    NAIVE: Mutant("the naive write-through cache"),
}
"""Beside the mutants: what must not be caught in so many rounds, and what everybody writes first."""


@dataclass(frozen=True)
class Catch:
    """After how many seconds of work a variant broke which promise; ``kind`` is empty when it got away."""

    variant: str
    what: str
    seconds: float
    kind: str = ""
    text: str = ""

    @property
    def right(self) -> bool:
        """Whether it had to be caught, or had not."""
        return bool(self.kind) == (self.variant not in {LIBRARY, JOURNALS})

    def __str__(self) -> str:
        found = f"{self.kind or 'none':8}{self.seconds:6.2f} s"
        return f"{self.variant:15} {found}  {self.what}{'' if self.right else '   <- WRONG'}\n    {self.text}"


def prove(names: Sequence[str], seed: int) -> Iterator[Catch]:
    """Run each variant, over one pair of servers, until the checker objects."""
    with scratch() as directory, running(directory, ROUND * ROUNDS * len(names)) as (postgres, redis, _):
        for name in names:
            mutant = CONTROLS.get(name) or MUTANTS[name]
            plan = Plan(
                seconds=ROUND,
                seed=seed,
                kinds=mutant.kinds,
                variant=name,
                workers=6,
                settings=dict(mutant.settings),
                wiping=mutant.wiping,
                pace=0.15,
                journals=mutant.journals,
            )
            with ExitStack() as stack:
                hot, address = redis, ""
                if mutant.cluster:
                    place = Path(tempfile.mkdtemp(dir=directory))
                    hot = stack.enter_context(cluster(place))[0]
                    address = f"cluster://127.0.0.1:{hot.port}"
                stage = Stage(plan, directory, postgres, hot, address)
                if PROMOTE in mutant.kinds:
                    plan = replace(plan, seconds=PROMOTION)
                    place = Path(tempfile.mkdtemp(dir=directory))
                    place.chmod(0o711)
                    stage = replace(stage, succession=stack.enter_context(succession(place)))
                yield _caught(mutant, plan, stage)


def _caught(mutant: Mutant, plan: Plan, stage: Stage) -> Catch:
    """Work in short rounds. An error does not count: it tells that the mutant does not work.

    Nor does a round in which Redis served little: the workers may have taken half of it to begin. Several in a row do.
    """
    surprise, cold = "", 0
    for number in range(ROUNDS):
        outcome = replace(stage, plan=replace(plan, seed=plan.seed + number)).play(plan.kinds, plan.seconds)
        found = {violation.kind: violation for violation in reversed(outcome.verdict.violations)}
        cold = cold + 1 if "useless" in found else 0
        for violation in outcome.verdict.violations:
            if violation.kind != "surprise" and (violation.kind != "useless" or cold == COLD):
                seconds = number * plan.seconds + violation.at
                return Catch(plan.variant, mutant.what, seconds, violation.kind, violation.text)
        surprise = surprise or ("surprise" in found and found["surprise"].text) or ""
        if plan.variant in {LIBRARY, JOURNALS} and not cold:
            break
    return Catch(plan.variant, mutant.what, (number + 1) * plan.seconds, text=surprise)
