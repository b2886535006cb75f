"""No picture steps back to a state that a late reading of the table shows: world, ladder and overview agree."""

from __future__ import annotations

import numpy as np
import pytest

from tests.playbook import Book, play
from tracer.history import History
from tracer.kinds import Side
from tracer.states import State
from tui.connections import Connections
from tui.ladder import model as ladder_model
from tui.ladder.model import Model

STORIES = {
    "inferred, overtaken": ("c ESTABLISHED > FIN_WAIT1 ?\nc FIN_WAIT1 > FIN_WAIT2 ?", "1ms", "FIN_WAIT1", "FIN_WAIT2"),
    "observed, overtaken": ("c ESTABLISHED > FIN_WAIT1\nc FIN_WAIT1 > FIN_WAIT2", "1ms", "FIN_WAIT1", "FIN_WAIT2"),
    "read again and again": ("c ESTABLISHED > FIN_WAIT1 ?\nc FIN_WAIT1 > FIN_WAIT2 ?", "1s", "FIN_WAIT1", "FIN_WAIT1"),
    "the reading leads": ("c SYN_SENT > ESTABLISHED ?\nc ESTABLISHED > FIN_WAIT1 ?", "1ms", "FIN_WAIT2", "FIN_WAIT2"),
    "read before": ("c SYN_SENT > ESTABLISHED ~\nc ESTABLISHED > CLOSE_WAIT ~", "1ms", "LAST_ACK", "LAST_ACK"),
}  # fmt: skip
"""What was known of the client; how much later a reading came; what it said; what is to be shown."""


def _book(name: str) -> tuple[Book, State]:
    before, wait, read, shown = STORIES[name]
    return play(f"{before}\nwait {wait}\nc ESTABLISHED > {read} ~"), State[shown]


@pytest.mark.parametrize("name", STORIES)
def test_the_world_the_ladder_and_the_overview_show_one_state(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    book, shown = _book(name)
    timeline = book.timeline
    world = History(timeline, 1).at(len(timeline) - 1)
    (client,) = [view for view in world.sockets.values() if view.side is Side.CLIENT]
    assert client.state is shown

    connections = Connections(timeline)
    connections.refresh()
    life = connections[1].lives[Side.CLIENT]
    assert life.states[-1] is shown
    assert len(life.states) == len(life.times) == len(life.evidence)
    end = np.array([life.times[0], timeline[len(timeline) - 1].time + 1, timeline[len(timeline) - 1].time + 2])
    assert connections.flow.states(end)[shown].tolist()[-1] == 1, "the river counts it where the bar shows it"

    for merged in (20_000, 0):
        monkeypatch.setattr(ladder_model, "MERGED", merged)
        model = Model(timeline, 1)
        model.reveal(len(timeline))
        assert model[len(model) - 1].client.state is shown, f"{merged} events merged"


def test_a_reading_that_changes_nothing_makes_no_row() -> None:
    book, _ = _book("inferred, overtaken")
    model = Model(book.timeline, 1)
    model.reveal(len(book.timeline) - 1)
    before = len(model)
    model.reveal(len(book.timeline))
    assert len(model) == before
    assert len(book.timeline) - 1 in model.orders(before - 1), "it is in a row all the same, without words"
