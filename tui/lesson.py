"""A lesson: predict, then run. What is asked, what was answered, how far one may look.

The lesson reads the timeline ahead of the playhead and names the next event that is worth a question; from the row of
that event on nothing is drawn until there is an answer (the *gate*). Whatever the trace then shows is the answer: the
lesson has no key of its own. It knows no keys and no looks, so it can be tested without a terminal.

While a scenario is held in step mode nothing lies ahead. Then the question is about the step that is due, the real
actor takes it when the answer is given, and what came of it says who was right.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tracer.events import NUMBER
from tracer.history import History
from tracer.segments import FIN, RST, SYN
from tracer.timeline import Timeline
from tui import lesson_questions as ask
from tui.lesson_questions import OWN, SEGMENT, STATE, Question
from tui.track import Track

FIRST_SEGMENTS: Final = 3
"""The segments of the handshake are asked for whatever their flags."""
SETTLE_SECONDS: Final = 0.3
"""After a step of the script, for what the kernel does by itself and for the probes' records to come in."""


class Phase(Enum):
    """What the lesson waits for."""

    LOOK = "look"
    """That one looks at what is shown, and goes on."""
    ASK = "ask"
    """An answer."""
    WAIT = "wait"
    """That the step is over."""
    OVER = "over"


@dataclass(frozen=True)
class Verdict:
    """What became of an answer."""

    right: bool | None
    """None: the trace showed something that was not among the choices."""
    told: str
    """What was answered."""
    reply: str


class Lesson:
    """The lesson on one timeline."""

    def __init__(self, timeline: Timeline, own: Callable[[], Sequence[tuple[str, str]]] | None = None) -> None:
        """`own`: gives questions and answers that come at the end; it is asked then."""
        self.timeline = timeline
        self.asked = self.right = 0
        """Answers given, and the right ones of them."""
        self.phase = Phase.LOOK
        self.question: Question | None = None
        """The next one; it may lie ahead of what is shown."""
        self.verdict: Verdict | None = None
        """On the last answer."""
        self.revealed = False
        """Of a question without choices of its own, the answer is shown."""
        self.scanned = 0
        """Events that were looked at; those behind may not be shown yet."""
        self._ask_own = own
        self._own: list[Question] = []
        self._conn = -1
        self._after: dict[int, int] = {}
        """Connection -> the last order that was asked about."""
        self._count = {STATE: 0, SEGMENT: 0, OWN: 0}
        self._track = Track(timeline, 0)
        self._history = History(timeline, 0)
        self._chosen = -1
        self._from = 0
        self._settled = -1.0

    @property
    def gate(self) -> int:
        """Nothing from this order on may be shown."""
        return self.question.first if self.question is not None and self.question.kind != OWN else self.scanned

    def look(self, conn: int, finished: bool) -> None:
        """Take in what has come of the connection in focus; `finished`: nothing more can come, and all is shown."""
        if self.turn_to(conn):
            self.question, self.scanned, self.phase = None, 0, Phase.LOOK
        if self.question is None and (self.scanned < len(self.timeline) or not self.scanned):
            self._scan()
        if finished and self.scanned == len(self.timeline):
            self.ask_own()

    def turn_to(self, conn: int) -> bool:
        """The connection that is asked about; True when it is another one than before."""
        if conn == self._conn:
            return False
        self._conn = conn
        self._track, self._history = Track(self.timeline, conn), History(self.timeline, conn)
        return True

    def ask_own(self) -> None:
        """Nothing more can happen: the questions that were brought along, then the end."""
        if self._ask_own is not None:
            self._own, self._ask_own = ask.own_questions(self._ask_own()), None
        if self.question is None and self.verdict is None and self.phase is Phase.LOOK:
            self.question = self._own.pop(0) if self._own else None
            self.phase, self.revealed = (Phase.ASK, False) if self.question else (Phase.OVER, False)

    def arrive(self, limit: int) -> None:
        """That far is shown: where the gate is reached, and the last verdict has been read, the question is due."""
        if self.phase is Phase.LOOK and self.verdict is None and self.question is not None and limit >= self.gate:
            self.phase = Phase.ASK

    def go_on(self) -> None:
        """The verdict has been read, or the answer to a question without choices is wanted."""
        if self.phase is Phase.ASK:
            self.revealed = True
        self.verdict = None

    def answer(self, choice: int) -> bool:
        """Answer the question that is due with a choice, from 0; False where there is none of that number."""
        question = self.question
        if self.phase is not Phase.ASK or question is None or not 0 <= choice < len(question.choices):
            return False
        if question.kind == OWN and not self.revealed:
            return False
        if question.right < 0:
            self.phase, self._chosen, self._from, self._settled = Phase.WAIT, choice, len(self.timeline), -1.0
            return True
        self._judge(question, choice, question.right, question.replies[choice])
        self._after[self._conn] = max(self._after.get(self._conn, -1), question.last)
        self._count[question.kind] += 1
        self.question, self.phase = None, Phase.LOOK
        if question.kind != OWN:
            self.scanned = question.last + 1
            self._scan()
        return True

    def _judge(self, question: Question, choice: int, right: int, reply: str) -> None:
        self.asked += 1
        self.right += choice == right
        told = question.choices[choice]
        if choice != right and question.kind == STATE:
            reply = f"{question.replies[right]} Your way: {question.replies[choice]}"
        self.verdict = Verdict(choice == right, told, reply)

    # What lies ahead on the timeline

    def _scan(self) -> None:
        """Find the next event that is worth a question."""
        count = len(self.timeline)
        self._track.refresh()
        for order in self._candidates(self._after.get(self._conn, -1), count).tolist():
            found = self._about(order, count)
            if found is not None:
                self.question = found
                break
        self.scanned = count

    def _candidates(self, after: int, count: int) -> NDArray[np.int64]:
        """Orders of the events of the connection that change a state or are segments of weight, behind `after`."""
        timeline = self.timeline
        mine = timeline.indices("conn", self._conn) if self._conn else np.zeros(0, np.int64)
        found = [np.intersect1d(mine, timeline.indices("kind", kind)) for kind in ask.STATE_KINDS]
        for kind, name in ((NUMBER["packet:sent"], "packet:sent"), (NUMBER["packet:captured"], "packet:captured")):
            every = timeline.indices("kind", kind)
            places = np.flatnonzero(np.isin(every, mine))
            if not len(places):
                continue
            flags = timeline.field(name, "flags")[places]
            data = np.flatnonzero(timeline.field(name, "length")[places] > 0)[:2]
            wanted = (flags & (SYN | FIN | RST)) > 0
            wanted[1:] |= (flags[:-1] & FIN) > 0  # what answers a FIN
            wanted[:FIRST_SEGMENTS] = True
            wanted[data] = True
            found.append(every[places[wanted]])
        orders = np.unique(np.concatenate(found)).astype(np.int64)
        return orders[(orders > after) & (orders < count)]

    def _about(self, order: int, count: int) -> Question | None:
        """A question about the row that the event is in, of the kind that was asked less often."""
        after = self._after.get(self._conn, -1)
        first, last = self._track.row_of(order)
        first, last = max(first, after + 1), min(last, count - 1)
        inside = [each for each in self._candidates(first - 1, last + 1).tolist() if each >= order]
        made: dict[str, Question] = {}
        before = self._history.at(first - 1)
        for each in inside:
            event = self.timeline[each]
            kind = STATE if event.number in ask.STATE_KINDS else SEGMENT
            if kind in made:
                continue
            if kind == STATE:
                question = ask.state_question(self.timeline, each, before, self._history.at(each))
            else:
                question = ask.segment_question(self.timeline, each)
            if question is not None:
                made[kind] = question
        for kind in sorted(made, key=lambda kind: self._count[kind]):
            return Question(**(made[kind].__dict__ | {"first": first, "last": max(last, order)}))
        return None

    # What an actor is about to do

    def predict(self, actor: str) -> None:
        """Ask about the step of the script that is due."""
        kind = STATE if self._count[STATE] <= self._count[SEGMENT] else SEGMENT
        world = self._history.at(len(self.timeline) - 1)
        self.question = ask.prediction(world, max(self._conn, 0), actor, kind)
        self.phase = Phase.ASK
        self.revealed = False

    def settle(self, now: float, over: bool) -> bool:
        """Whether the step has come to rest; then what happened is the verdict. `over`: the script says that it is."""
        question = self.question
        if self.phase is not Phase.WAIT or question is None or not over:
            self._settled = -1.0
            return False
        if self._settled < 0:
            self._settled = now
        if now - self._settled < SETTLE_SECONDS:
            return False
        events = self.timeline.events(self._from, len(self.timeline))
        happened = ask.outcome(question, events)
        if happened in question.choices:
            right = question.choices.index(happened)
            self._judge(question, self._chosen, right, question.replies[right] if question.kind == STATE else happened)
        else:
            told = question.choices[self._chosen]
            self.verdict = Verdict(None, told, f"{happened}: not among the choices, so it does not count.")
        self._count[question.kind] += 1
        self.question, self.phase = None, Phase.LOOK
        return True
