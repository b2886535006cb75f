"""What `synfin new NAME` writes: a small scenario that runs as it is, with a word on each of its parts.

The text below is a program, so a test plays it: a template that does not run would be a bad start.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

TEMPLATE: Final = '''\
"""One sentence: what this scenario shows.

Then the theory, in a paragraph: what happens, why it matters, and where it is written down (an RFC's section, a
function of the kernel). All after the first empty line is the story that `synfin show` prints.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from scenarios.actor import Actor
from scenarios.calls import accept, bind, close, connect, listen, recv, send, socket
from scenarios.script import Scenario

if TYPE_CHECKING:
    from scenarios.sights import Seen

# Who acts. Each actor is a process of its own, with a name of at most 15 bytes.
scenario = Scenario(
    name="{name}",
    title="A greeting, and its echo",
    topic="my own",
    story=__doc__.split("\\n\\n", 1)[1].strip(),
    actors=("server", "client"),
    watch=("what to look at during the whole play",),
    questions=(("A question for the class?", "Its answer"),),
    # More to set: network="veth" (a network for each actor), sysctls={{"net.ipv4.tcp_...": "1"}} (inside it only),
    # impairments (loss, delay, ...), families=("ipv4",). docs/writing-scenarios.md has them all.
)


# What happens, in playing order. A step is one line for the audience and one function, which runs in the actor's
# process. `me` is the actor: keep on it what a later step needs. scenarios.calls has the system calls, one function
# each; they raise OSError as the kernel says, and any exception ends the play with the line of this file.
@scenario.step("server", "The server opens its door.", watch="LISTEN, and two empty queues")
def opens(me: Actor) -> None:
    me.listener = socket()
    bind(me.listener, me.at("server"))
    listen(me.listener, 8)


# `asleep_in`: the step is over when the actor sleeps in that call. The call comes back in a later step of somebody
# else, which names the sleeper in `wakes` and is over when it is awake again.
@scenario.step("server", "It sleeps until somebody comes.", asleep_in="accept4")
def waits(me: Actor) -> None:
    me.connection = accept(me.listener)


@scenario.step("client", "The client connects and says hello.", wakes="server", watch="the handshake, then data")
def says_hello(me: Actor) -> None:
    me.connection = socket()
    connect(me.connection, me.at("server"))
    send(me.connection, b"hello")


@scenario.step("server", "The server reads it, echoes it and closes.")
def echoes(me: Actor) -> None:
    send(me.connection, recv(me.connection, 100))
    close(me.connection)
    close(me.listener)


@scenario.step("client", "The client reads the echo and closes.")
def reads(me: Actor) -> None:
    recv(me.connection, 100)
    close(me.connection)


# What must be seen. A check gets what was seen of the play and returns None when it holds, else the reason why not, in
# words; `seen.cannot_tell(...)` ends it undecided. scenarios.sights has all that can be asked.
@scenario.must_see("the server sleeps while the three packets of the handshake pass")
def asleep(seen: Seen) -> str | None:
    syn, _, last = seen.handshake()
    return seen.asleep_during("server", "accept", syn, last)


@scenario.must_see("the client reads as many bytes as it has sent")
def echoed(seen: Seen) -> str | None:
    return seen.same(seen.results("client", "recv"), seen.results("client", "send"), "bytes read")
'''


def text(name: str) -> str:
    """The template as a scenario of that name (lower-case letters, digits, dashes)."""
    return TEMPLATE.format(name=name)


def write(name: str, path: Path) -> None:
    """Write it to a new file. Raises FileExistsError where there is one already, OSError."""
    with path.open("x", encoding="utf-8") as file:
        file.write(text(name))
