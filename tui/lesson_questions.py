"""Questions for a lesson: made from the table of states and from the trace, which is the answer key.

Two kinds of thing are asked. *Which state does this end go to next?* has as choices what the table of states allows
from there (tracer.states), and others that it does not allow. *Who sends the next segment?* has both ends and the
segments they might send. Of an event that is on the timeline already, the question is made from the event, and what
comes is not drawn until it has been answered. Of a step that a real actor has not taken yet, nothing is known: the
question is made from the world as it is, and what happens then decides.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from tracer.causes import cause, step
from tracer.events import NUMBER, PACKETS
from tracer.kinds import Side
from tracer.segments import ACK, FIN, RST, SYN
from tracer.states import STATES, TRANSITIONS, State, Transition, Trigger, between
from tracer.timeline import Event, Timeline
from tracer.words import flags, message
from tracer.world import World

FEWEST: Final = 3
"""Choices at least."""
STATE, SEGMENT, OWN = "state", "segment", "own"
STATE_KINDS: Final = tuple(NUMBER[name] for name in ("socket:state", "timewait:born", "timewait:expired"))
DEPARTURES: Final = tuple(NUMBER[name] for name in ("packet:sent", "packet:captured"))
_LINUX_ONLY: Final = frozenset({State.UNKNOWN, State.NEW_SYN_RECV})
"""Not asked about: a textbook has no such state."""
_NAMED: Final = SYN | FIN | RST | ACK
ENDS: Final = {Side.CLIENT: "client", Side.SERVER: "server"}
NOBODY: Final = "nobody sends anything"
ANOTHER: Final = {
    "SYN": "SYN,ACK", "SYN,ACK": "ACK", "ACK": "ACK with data", "ACK with data": "FIN,ACK", "FIN,ACK": "ACK",
    "RST": "SYN,ACK", "RST,ACK": "SYN,ACK",
}  # fmt: skip
"""What else might be sent in such a moment: a wrong answer that is worth a thought."""


@dataclass(frozen=True)
class Question:
    """One question with its choices."""

    kind: str
    """state, segment or own."""
    text: str
    choices: tuple[str, ...]
    right: int
    """Which of the choices; -1 while only what happens can tell."""
    replies: tuple[str, ...]
    """What to say to each choice, once it is made."""
    first: int = 0
    """Order of the first event that is not drawn until it is answered."""
    last: int = 0
    """Order of the last event of the row that answers it."""
    side: Side = Side.NONE
    now: State = State.UNKNOWN


def state_question(timeline: Timeline, order: int, before: World, after: World) -> Question | None:
    """About the change of state that event `order` brings; None where it brings none that a table explains."""
    event = timeline[order]
    old, new = before.end(event.conn, event.side), after.end(event.conn, event.side)
    now = old.state if old is not None else State.CLOSE
    if new is None or now == new.state or {now, new.state} & _LINUX_ONLY or not between(now, new.state):
        return None
    if new.state is State.SYN_RECV and now in (State.CLOSE, State.LISTEN):  # the child, made at the end of a handshake
        return None
    states = successors(now, new.state)
    rows = [_row(timeline, order, now, each, each is new.state) for each in states]
    replies = [_reply(now, each, row) for each, row in zip(states, rows, strict=True)]
    who = ENDS[event.side]
    text = f"The {who} is {STATES[now].label}. Which state does it go to next?"
    labels = tuple(STATES[each].label for each in states)
    right = states.index(new.state)
    return Question(STATE, text, labels, right, tuple(replies), side=event.side, now=now)


def successors(now: State, at_least: State | None = None) -> list[State]:
    """Where the table leads from a state, in the order of a life, with others that it does not lead to."""
    lawful = {row.next for row in TRANSITIONS if row.state == now and row.trigger is not Trigger.HANDOVER}
    found = lawful - _LINUX_ONLY | ({at_least} if at_least is not None else set())
    for other in (State.TIME_WAIT, State.CLOSE_WAIT, State.FIN_WAIT2, State.LAST_ACK):
        if len(found) < FEWEST and other not in (now, *lawful):
            found.add(other)
    life = list(STATES)
    return sorted(found, key=lambda state: (state is State.CLOSE, life.index(state)))


def _row(timeline: Timeline, order: int, now: State, to: State, happened: bool) -> Transition | None:
    rows = between(now, to)
    told = step(timeline, order) if happened else None
    return told or (rows[0] if rows else None)


def _reply(now: State, to: State, row: Transition | None) -> str:
    way = f"{STATES[now].label} → {STATES[to].label}"
    return f"{way} is no step of TCP." if row is None else f"{way}: {row.why} ({row.rfc})"


def segment_question(timeline: Timeline, order: int) -> Question | None:
    """About the segment that event `order` sends."""
    event = timeline[order]
    if event.side not in ENDS:
        return None
    what = segment(event)
    peer = Side.SERVER if event.side is Side.CLIENT else Side.CLIENT
    other = ANOTHER.get(what, "ACK")
    told = {(side, label) for side in (event.side, peer) for label in (what, other)}
    labels = sorted(told, key=lambda one: (one[0], list(ANOTHER).index(one[1]) if one[1] in ANOTHER else -1))
    choices = tuple(f"{ENDS[side]}: {label}" for side, label in labels)
    link = cause(timeline, order)
    because = message(timeline[link.order]).partition(" Seq=")[0] if link is not None else ""
    came = f"{ENDS[event.side]}: {what}." + (f" What led to it: {because}." if because else "")
    text = "Who sends the next segment, and which flags has it?"
    return Question(SEGMENT, text, choices, labels.index((event.side, what)), (came,) * len(choices), side=event.side)


def segment(event: Event) -> str:
    """A segment by its flags, and whether it carries data."""
    return flags(event["flags"] & _NAMED) + (" with data" if event["length"] else "")


def own_questions(pairs: Sequence[tuple[str, str]]) -> list[Question]:
    """The scenario's own questions: one thinks, sees the answer, and says oneself whether one had it."""
    return [Question(OWN, text, ("I had it", "I had not"), 0, (answer,) * 2) for text, answer in pairs]


# Before a step is taken


def prediction(world: World, conn: int, actor: str, kind: str) -> Question:
    """About what the next step of `actor` will bring, from the world as it is."""
    side = next((side for side, name in ENDS.items() if name in actor.lower()), Side.NONE)
    if kind == STATE and side is not Side.NONE:
        now = state_now(world, conn, side)
        states = [state for state in successors(now) if state is not now]
        stays = f"it stays {STATES[now].label}"
        text = f"The {ENDS[side]} is {STATES[now].label}. To which state does this step bring it first?"
        choices = (*(STATES[each].label for each in states), stays)
        replies = (*(_reply(now, each, next(iter(between(now, each)), None)) for each in states), f"{stays}.")
        return Question(STATE, text, choices, -1, replies, side=side, now=now)
    open_already = any(state_now(world, conn, side) is not State.CLOSE for side in ENDS) and conn
    labels = ("ACK", "ACK with data", "FIN,ACK") if open_already else ("SYN", "SYN,ACK")
    sent = tuple(f"{name}: {label}" for name in ENDS.values() for label in labels)
    text = "Who sends the first segment of this step, and which flags has it?"
    choices = (*sent, NOBODY)
    return Question(SEGMENT, text, choices, -1, choices)


def state_now(world: World, conn: int, side: Side) -> State:
    """The state of an end; of a server without a connection, of its listener."""
    end = world.end(conn, side) if conn else None
    if end is not None and end.state is not State.UNKNOWN:
        return end.state
    return State.LISTEN if side is Side.SERVER and world.listeners else State.CLOSE


def outcome(question: Question, events: Iterable[Event]) -> str:
    """What has happened, in the words of a choice."""
    if question.kind == SEGMENT:
        sent = next((event for event in events if event.number in PACKETS and event.number in DEPARTURES), None)
        return NOBODY if sent is None else f"{ENDS.get(sent.side, '?')}: {segment(sent)}"
    mine = [
        event for event in events
        if event.number in STATE_KINDS and (event.side is question.side or _listens(event, question.side))
    ]  # fmt: skip
    for event in mine:
        new = _entered(event)
        handed = new is State.CLOSE and question.now in (State.FIN_WAIT1, State.FIN_WAIT2, State.CLOSING)
        if handed and any(later.name == "timewait:born" for later in mine):
            new = State.TIME_WAIT  # two records of one moment: the TIME_WAIT object takes over from the socket
        if new not in (question.now, State.UNKNOWN):
            return STATES[new].label
    return f"it stays {STATES[question.now].label}"


def _entered(event: Event) -> State:
    if event.name == "socket:state":
        return State(event["new"]) if event["new"] in State._value2member_map_ else State.UNKNOWN
    return State(event["substate"]) if event.name == "timewait:born" else State.CLOSE


def _listens(event: Event, side: Side) -> bool:
    return side is Side.SERVER and event.side is Side.NONE and event.name == "socket:state"
