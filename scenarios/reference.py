"""Pages made from the scenarios: `python -m scenarios.reference docs captures` writes them into those two folders.

`docs/scenarios.md` tells every scenario as `synfin show` does, `docs/sights.md` lists what a check may ask, and
`captures/README.md` says of each recording what to look for. A test compares them with what the scripts say now, so
they cannot grow old. `python -m scenarios.reference` alone prints the names of the scenarios that are recorded.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from scenarios import recordings, registry
from scenarios.script import Scenario
from scenarios.sights import Seen
from scenarios.sights_actor import ActorSeen
from scenarios.sights_connection import ConnectionSeen
from scenarios.sights_listener import ListenerSeen

ASKED: Final = (
    ("The play: `seen`", Seen, "It is the play's first connection too: all of the next section may be asked of it."),
    ("A connection: `seen`, or `seen.connection(2)`", ConnectionSeen, "Sides are `client` and `server`."),
    ("A listener: `seen.listener()`", ListenerSeen, ""),
    ("An actor: `seen.actor(\"server\")`", ActorSeen, ""),
)  # fmt: skip
RECORDED: Final = ("lifecycle", "opening", "ending")
"""Topics that come along as recordings: a connection's life from the first call to the end of TIME_WAIT."""
RECORDED_BESIDES: Final = (
    "flow-control", "keepalive", "sentinel", "framing", "lifecycle-table", "close-wait-leak",
    "netpoller-echo",
)  # fmt: skip
"""Scenarios of other topics whose recordings are small and show a part of that life which those do not."""
RESULTS: Final = (
    "\n## What comes back\n",
    "- a call: `enter` and `leave` (events; `leave` is None while it is under way), `result`, `error`, `seconds`",
    "- a TIME_WAIT object: `born`, `state` (FIN_WAIT2 for an orphan's), `armed` (seconds), `rearmed`, `ended`, `end`",
    "  (`expired` or `cancelled`), `lasted` (seconds)",
    "- the options of a SYN: `mss`, `window_scale`, `sack`, `timestamps`, `cookie` (of fast open)",
    "- a listener also has `opened` and `closed` (events), `port` and `sock`; an actor has `pid`",
)


def scenarios() -> str:
    """Every scenario, by topic, as Markdown."""
    return "\n".join(_scenarios()) + "\n"


def sights() -> str:
    """What checks may ask, as Markdown."""
    return "\n".join(_sights()) + "\n"


def captures() -> str:
    """The index of the recordings, as Markdown."""
    return "\n".join(_captures()) + "\n"


def recorded() -> list[Scenario]:
    """The scenarios of which a recording comes along."""
    return [one for one in registry.every() if one.topic in RECORDED or one.name in RECORDED_BESIDES]


def _scenarios() -> Iterator[str]:
    yield "# Scenarios\n"
    yield "Made from `scenarios/*/*.py` by `make docs`; do not edit. `synfin run NAME` plays one, `synfin show NAME"
    yield "--answers` prints what is here, with the answers."
    for topic in dict.fromkeys(scenario.topic for scenario in registry.every()):
        chosen = [scenario for scenario in registry.every() if scenario.topic == topic]
        yield f"\n## {topic.capitalize()}: {registry.TOPICS.get(topic, '')}\n"
        yield "| scenario | shows |"
        yield "|---|---|"
        for scenario in chosen:
            yield f"| [{scenario.name}](#{scenario.name}) | {scenario.title} |"
        for scenario in chosen:
            yield from _scenario(scenario)


def _scenario(scenario: Scenario) -> Iterator[str]:
    yield f"\n### {scenario.name}\n"
    yield f"**{scenario.title}.** {scenario.story}\n"
    yield f"{conditions(scenario)}\n"
    for step in scenario.steps:
        watch = f" *({step.watch})*" if step.watch else ""
        yield f"{step.number}. {step.actor}: {step.text}{watch}"
    if scenario.aftermath:
        yield f"\nThen: {scenario.aftermath}."
    yield "\nMust be seen:\n"
    for sight in scenario.sights:
        yield f"- {sight.text}"
    yield "\nQuestions:\n"
    for question, _ in scenario.questions:
        yield f"- {question}"


def conditions(scenario: Scenario) -> str:
    """Where, by whom and over what it is played, in a sentence or two."""
    actors = ", ".join(scenario.actors)
    place = "one network" if scenario.network == "loopback" else "a network for each actor"
    takes = " It takes a while." if scenario.slow else ""
    return f"Actors: {actors}; {place}; {', '.join(scenario.families)}.{takes}"


def _sights() -> Iterator[str]:
    yield "# What a check may ask\n"
    yield "Made from `scenarios/sights*.py` by `make docs`; do not edit.\n"
    yield "A check gets `seen` and returns None when it holds, else the reason why not, in words. What the evidence at"
    yield "hand cannot decide ends it undecided by itself: kernel probes see all of this, packets and a sampled table"
    yield 'only some. An event has `time` (ns), `order` (its place), and its kind\'s fields (`event["seq"]`, see'
    yield "[events](events.md))."
    for title, cls, remark in ASKED:
        yield f"\n## {title}\n"
        if remark:
            yield f"{remark}\n"
        yield "| ask | and get |"
        yield "|---|---|"
        for name, member in vars(cls).items():
            if not name.startswith("_") and (words := inspect.getdoc(member)) and callable(getattr(cls, name)):
                yield f"| `{_cell(name + _signature(getattr(cls, name)))}` | {_cell(' '.join(words.split()))} |"
    yield from RESULTS


def _signature(function: Callable[..., object]) -> str:
    told = str(inspect.signature(function)).replace("self, ", "").replace("(self)", "()")
    return re.sub(r"(: |-> )'([^']+)'", r"\1\2", told)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _captures() -> Iterator[str]:
    yield "# Recordings\n"
    yield "Made by our own scenarios on a real kernel, each by one command (`synfin run NAME --check --wait -w"
    yield "captures/NAME.pcapng`); `make captures` makes them all again. They replay anywhere without any rights"
    yield "(`synfin replay captures/half-close.pcapng`), and Wireshark opens them as they are: the kernel's events"
    yield "stand between the packets. This index is made from the scenarios by `make docs`; do not edit.\n"
    yield "| recording | shows | look for |"
    yield "|---|---|---|"
    there = recordings.names()
    for scenario in recorded():
        if scenario.name in there:
            yield f"| {scenario.name}.pcapng | {scenario.title} | {_cell('; '.join(scenario.watch))} |"


if __name__ == "__main__":
    if len(sys.argv) == 1:
        print(*(scenario.name for scenario in recorded()), sep="\n")
    else:
        docs, index = map(Path, sys.argv[1:3])
        for path, text in (
            (docs / "scenarios.md", scenarios()), (docs / "sights.md", sights()), (index / "README.md", captures())
        ):  # fmt: skip
            path.write_text(text, encoding="utf-8")
            print(path)
