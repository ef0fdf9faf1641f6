"""The checker, tested: the naive cache and each of the nine traps must be caught, and how soon."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from torture.mutants import MUTANTS, Mutant
from torture.run import Plan, Stage, scratch
from torture.sentinel import cluster
from torture.servers import Hot, Postgres, running
from torture.variants import NAIVE

ROUND = 2.5
"""Seconds the workers work before the checker looks."""
ROUNDS = 6
NAIVE_CACHE = Mutant("the naive write-through cache")


@dataclass(frozen=True)
class Catch:
    """After how many seconds of work a variant broke which promise; ``kind`` is empty when it got away."""

    variant: str
    what: str
    seconds: float
    kind: str = ""
    text: str = ""

    def __str__(self) -> str:
        found = f"{self.kind:8}{self.seconds:6.2f} s" if self.kind else "NOT CAUGHT      "
        return f"{self.variant:15} {found}  {self.what}"


def prove(names: Sequence[str], seed: int) -> Iterator[Catch]:
    """Run each variant, over one pair of servers, until the checker objects."""
    with scratch() as directory, running(directory) as (postgres, redis, _):
        for name in names:
            mutant = NAIVE_CACHE if name == NAIVE else MUTANTS[name]
            plan = Plan(
                seconds=ROUND,
                seed=seed,
                kinds=mutant.kinds,
                variant=name,
                workers=6,
                settings=dict(mutant.settings),
                wiping=mutant.wiping,
                pace=0.15,
            )
            with ExitStack() as stack:
                hot, address = redis, ""
                if mutant.cluster:
                    place = Path(directory, "cluster")
                    place.mkdir()
                    hot = stack.enter_context(cluster(place))[0]
                    address = f"cluster://127.0.0.1:{hot.port}"
                yield _caught(mutant, plan, Stage(plan, directory, postgres, hot, address))


def _caught(mutant: Mutant, plan: Plan, stage: Stage) -> Catch:
    """Work in short rounds. An error does not count: it tells that the mutant does not work."""
    surprise = ""
    for number in range(ROUNDS):
        outcome = replace(stage, plan=replace(plan, seed=plan.seed + number)).play(plan.kinds, plan.seconds)
        for violation in outcome.verdict.violations:
            if violation.kind != "surprise":
                seconds = number * plan.seconds + violation.at
                return Catch(plan.variant, mutant.what, seconds, violation.kind, violation.text)
            surprise = surprise or violation.text
    return Catch(plan.variant, mutant.what, ROUNDS * plan.seconds, text=surprise)
