"""The command line: what people type, and how it is joined to sources and screens.

Only this module and its ``cli_*`` neighbours know both sides. Each command makes a feed (a timeline and what fills it),
then hands it to the screen, to aligned text or to JSON lines. Imports are late on purpose: ``synfin list`` should not
wait for a screen, nor a screen for the probes.
"""

from __future__ import annotations

import atexit
import contextlib
import errno
import gc
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    # While the imports below go on, Ctrl-C just ends the process: nothing is there to be taken down, and the traceback
    # of an import would tell nobody anything.
    with contextlib.suppress(ValueError):  # imported by another thread than the main one
        signal.signal(signal.SIGINT, signal.SIG_DFL)

import click

from scenarios.script import Family
from tracer import __version__
from tui.cli_errors import CANNOT, INTERRUPTED, OUTPUT, USAGE, Trouble
from tui.cli_signals import catch, ended

_alone: list[bool] = []
"""Not empty where nothing has to be taken down: the process then ends at once, which spares some of a short run."""

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}

_text = click.option("--text", "form", flag_value="text", help="Aligned lines instead of the screen.")
_json = click.option("--json", "form", flag_value="json", help="JSON lines instead of the screen.")
_lesson = click.option("--lesson", is_flag=True, help="As a lesson: it asks what comes next, then shows it.")
_ascii = click.option("--ascii", "plain_glyphs", is_flag=True, help="Draw with ASCII characters only.")


@click.group(invoke_without_command=True, context_settings=CONTEXT)
@click.version_option(__version__, prog_name="synfin")
@click.option("--ascii", "plain_glyphs", is_flag=True, help="Start page, and what it opens, with ASCII only.")
@click.pass_context
def synfin(context: click.Context, plain_glyphs: bool) -> None:
    """See the life of TCP connections: live from this machine's kernel, or from any recording.

    Without a command: the start page, with scenarios, lessons, recordings, captures, live trace and load.
    """
    if context.invoked_subcommand is None:
        from tui.cli_visit import visit

        more = ["--ascii"] if plain_glyphs else []
        visit(lambda chosen: synfin.main([*chosen, *more], prog_name="synfin", standalone_mode=False), plain_glyphs)


@synfin.command("list")
@click.option("--topic", help="Only scenarios of this topic.")
def list_scenarios(topic: str | None) -> None:
    """The scenarios, one line each."""
    from tui.cli_scenarios import list_all

    list_all(topic)


@synfin.command()
@click.argument("scenario")
@click.option("--answers", is_flag=True, help="With the answers to its questions.")
def show(scenario: str, answers: bool) -> None:
    """What SCENARIO tells and proves: its story, its steps, what must be seen, its questions, its recording."""
    from tui.cli_scenarios import show_one

    show_one(scenario, answers=answers)


@synfin.command()
@click.argument("name")
def new(name: str) -> None:
    """Write ./NAME.py, a scenario of your own to begin with: it runs as it is."""
    from tui.cli_scenarios import write_new

    write_new(name)


@synfin.command()
@click.argument("scenario")
@click.option("--step", is_flag=True, help="Hold before every step: Enter lets the actor take it.")
@_lesson
@_text
@_json
@click.option("-w", "recording", metavar="FILE", help="Record to this pcapng file (- for standard output).")
@click.option("--pace", type=click.FloatRange(0, 60), help="Seconds between steps (screen: 0.5, text: 0).")
@click.option("--wait", is_flag=True, help="Text and JSON: go on until TIME_WAIT is over (a minute).")
@click.option("--no-kernel", is_flag=True, help="Do without kernel probes: packets and tables, as a plain user has.")
@click.option("--family", type=click.Choice(["ipv4", "ipv6", "mapped"]), help="Over which addresses (default: ipv4).")
@click.option("-4", "family", flag_value="ipv4", help="As --family ipv4.")
@click.option("-6", "family", flag_value="ipv6", help="As --family ipv6.")
@click.option("--check", is_flag=True, help="Only say what of all that must be seen was seen (with --json: as JSON).")
@_ascii
def run(
    scenario: str, step: bool, lesson: bool, form: str | None, recording: str | None, pace: float | None, wait: bool,
    no_kernel: bool, family: Family | None, check: bool, plain_glyphs: bool,
) -> None:  # fmt: skip
    """Play SCENARIO (a name of `synfin list`, or a file ./mine.py) with real sockets and watch it.

    Without a screen it ends with what the scenario says must be seen, and exit code 1 if something of it was not.
    """
    from tui.cli_live import Request, run_scenario

    form = form or ("text" if check else _form_for_output())
    seen = not no_kernel
    run_scenario(Request(scenario, step, form, recording, pace, wait, seen, plain_glyphs, check, family, lesson))


@synfin.command()
@click.argument("claims", nargs=-1, metavar="[ID]...")
@click.option("--json", "form", flag_value="json", help="One JSON object a claim.")
@click.option("--markdown", "form", flag_value="markdown", help="A Markdown table.")
@click.option("--list", "form", flag_value="list", help="Only the claims, and what decides each.")
@click.option("--quick", is_flag=True, help="Leave out what takes a minute or more.")
@click.option("--no-kernel", is_flag=True, help="Do without kernel probes; says which claims cannot be decided then.")
@click.option("--keep", metavar="DIR", help="Where the recordings go (default: the user's data folder).")
def verify(claims: tuple[str, ...], form: str | None, quick: bool, no_kernel: bool, keep: str | None) -> None:
    """Put claims about TCP to the test (all, or those named: C08), and say what is true on this machine."""
    from tui.cli_verify import list_claims
    from tui.cli_verify import verify as put_to_the_test

    if form == "list":
        list_claims(claims)
        return
    put_to_the_test(claims, form or "text", kernel=not no_kernel, slow=not quick, keep=keep)


@synfin.command()
@click.option("--model", metavar="M[,M...]", default="epoll-level", show_default=True, help="Server models, or all.")
@click.option("--experiment", metavar="NAME", help="A comparison with a question of its own, instead of --model.")
@click.option("--list", "listed", is_flag=True, help="The models and the experiments, one line each.")
@click.option("--connections", type=click.IntRange(1, 1_000_000), default=1000, show_default=True, metavar="N")
@click.option("--rate", type=click.FloatRange(1), default=2000.0, show_default=True, metavar="R",
              help="New connections a second.")  # fmt: skip
@click.option("--messages", metavar="M|max", default="1000", show_default=True, help="Messages a second in all.")
@click.option("--size", type=click.IntRange(1, 1 << 20), default=64, show_default=True, metavar="B", help="Bytes each.")
@click.option("--duration", type=click.FloatRange(0.1, 3600), default=5.0, show_default=True, metavar="S",
              help="How long messages flow.")  # fmt: skip
@click.option("--pool/--per-request", default=True, help="Connections that stay, or a new one for each message.")
@click.option("--slow", type=click.IntRange(0), default=0, metavar="K", help="Clients besides that drip bytes.")
@click.option("--resets", type=click.IntRange(0), default=0, metavar="K", help="Connections cut off meanwhile (RST).")
@click.option("--clients", type=click.IntRange(1, 250), metavar="C", help="Client processes (default: as needed).")
@click.option("--runs", type=click.IntRange(1, 100), default=1, show_default=True, metavar="N", help="Of each model.")
@click.option("--workers", type=click.IntRange(1, 1000), metavar="N", help="Server: size of a pool.")
@click.option("--queue", type=click.IntRange(1), metavar="N", help="Server: connections that may wait for the pool.")
@click.option("--when-full", type=click.Choice(["wait", "reject"]), help="Server: a full pool makes wait or rejects.")
@click.option("--buffer", type=click.IntRange(1), metavar="B", help="Server: bytes asked of each recv().")
@click.option("--deadline", type=click.FloatRange(0), metavar="S", help="Server: for a whole message; 0: none.")
@click.option("--work", type=click.FloatRange(0), metavar="S", help="Server: what answering a message takes.")
@click.option("--backlog", type=click.IntRange(0), metavar="N", help="Server: connections that may wait for accept().")
@click.option("--prometheus", type=int, metavar="PORT", help="Metrics on 127.0.0.1 while it runs; 0: any free port.")
@_text
@_json
@click.option("--markdown", "form", flag_value="markdown", help="A Markdown table.")
@_ascii
def load(form: str | None, plain_glyphs: bool, **typed: Any) -> None:
    """Load server models with real clients on loopback, and compare what each took for it."""
    from tui.cli_load import begin

    begin(typed, form or _form_for_output(), ascii_only=plain_glyphs)


def _traced(command: Callable[..., None]) -> Callable[..., None]:
    """What trace and record have in common: who is traced, how long, and what is run."""
    options = (
        click.option("--pid", "pids", type=int, multiple=True, metavar="P", help="This process."),
        click.option("--port", "ports", type=int, multiple=True, metavar="N", help="This port."),
        click.option("--comm", "comms", multiple=True, metavar="NAME", help="Processes of this name, as of now."),
        click.option("--cgroup", metavar="PATH", help="This cgroup (version 2) and all inside it."),
        click.option("--netns", metavar="NAME|INODE|PATH", help="Everything in this network namespace."),
        click.option("--all", "everything", is_flag=True, help="All TCP of this machine (so without any selection)."),
        click.option("--duration", type=float, metavar="S", help="End after S seconds."),
        click.option("--probes", metavar="GROUPS", help="Only these groups, with commas; `synfin doctor` lists them."),
        click.option("--go", is_flag=True, help="Go programs from inside, too; a hit costs them about 11 µs."),
        click.option("--lints", is_flag=True, help="At the end, what looks like trouble: in words, with what to do."),
        click.option("--no-kernel", is_flag=True, help="Do without probes: sampled tables, and packets if allowed."),
        click.option("--drop/--no-drop", default=None, help="Under sudo: go on as the user when the probes are on."),
        click.argument("command", nargs=-1, type=click.UNPROCESSED, metavar="[-- CMD ARGS...]"),
    )
    for option in reversed(options):
        command = option(command)
    return command


@synfin.command()
@_traced
@_text
@_json
@click.option("-w", "recording", metavar="FILE", help="Record to this pcapng file (- for standard output).")
@_ascii
def trace(
    form: str | None, recording: str | None, plain_glyphs: bool, duration: float | None, probes: str | None,
    lints: bool, no_kernel: bool, drop: bool | None, **who: Any,
) -> None:  # fmt: skip
    """Trace any program: processes, ports, a cgroup, a network, the whole machine, or CMD and all that it starts.

    The exit code is CMD's. Beside the screen its output goes to a file, beside events to standard error. Under sudo
    CMD runs as the user who called it, and recordings are his (--no-drop: as root).
    """
    from tui.cli_select import Who
    from tui.cli_trace import Request
    from tui.cli_trace import trace as begin

    form = form or _form_for_output()
    begin(Request(Who(**who), form, recording, duration, probes, plain_glyphs, lints, not no_kernel, drop))


@synfin.command()
@_traced
@click.option("-w", "recording", metavar="FILE", required=True, help="The pcapng file (- for standard output).")
def record(
    recording: str, duration: float | None, probes: str | None, lints: bool, no_kernel: bool, drop: bool | None,
    **who: Any,
) -> None:  # fmt: skip
    """As trace, but without a screen: everything goes into FILE, for `synfin replay`."""
    from tui.cli_select import Who
    from tui.cli_trace import Request
    from tui.cli_trace import trace as begin

    begin(Request(Who(**who), "none", recording, duration, probes, False, lints, not no_kernel, drop))


@synfin.command()
@click.argument("file")
@_lesson
@_text
@_json
@_ascii
@click.option("--resources", is_flag=True, help="Instead of events, what each connection takes up: born, freed, bytes.")
def replay(file: str, lesson: bool, form: str | None, plain_glyphs: bool, resources: bool) -> None:
    """Show a recording or a capture (pcap, pcapng; - for standard input)."""
    _start_lean()
    from tui.cli_replay import print_resources, replay_file

    if resources:
        print_resources(file, as_json=form == "json")
    else:
        replay_file(file, form or _form_for_output(), plain_glyphs=plain_glyphs, lesson=lesson)


@synfin.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option("--connections", "table", flag_value="connections", default=True, help="One row a connection (default).")
@click.option("--packets", "table", flag_value="packets", help="One row a packet, as Wireshark lists them.")
@click.option("--states", "table", flag_value="states", help="One row a change of state of either end, as inferred.")
@click.option("--json", "form", flag_value="json", help="JSON lines.")
@click.option("--csv", "form", flag_value="csv", help="Comma-separated values.")
@click.option("--parquet", metavar="OUT", help="Write a Parquet file (needs pyarrow).")
@click.option("-Y", "display", metavar="FILTER", default="", help="Only these rows: 'port:80 state:time-wait rtt>1ms'.")
@click.option("-f", "pcap", metavar="PCAPFILTER", default="", help="Only these packets: 'tcp port 80' (needs libpcap).")
@click.option("-t", "clock", type=click.Choice(["a", "d", "e", "r"]), default="r", show_default=True,
              help="Times in text: absolute, delta, epoch, relative.")  # fmt: skip
@click.option("--no-states", is_flag=True, help="Leave state inference out of --connections: faster on large captures.")
def analyze(
    files: tuple[str, ...], table: str, form: str | None, parquet: str | None, display: str, pcap: str, clock: str,
    no_states: bool,
) -> None:  # fmt: skip
    """Analyse captures (pcap, pcapng; - for standard input) without a screen.

    docs/filters.md has the keys of -Y for each kind of row, and the columns of --json, --csv and --parquet.
    """
    _start_lean()
    from tui.cli_analyze import Request
    from tui.cli_analyze import analyze as begin

    gc.freeze()
    _alone.append(True)
    begin(Request(files, table, form or "text", parquet, display, pcap, clock, infer=not no_states))


@synfin.command()
@click.option("--json", "as_json", is_flag=True, help="As one JSON object.")
def doctor(as_json: bool) -> None:
    """What this machine and these rights allow: kernel, BTF, bcc, each probe on or off and why."""
    from tui.cli_doctor import examine

    examine(as_json=as_json)


def _start_lean() -> None:
    """For commands that read files and start no programs: somebody waits for the imports."""
    gc.set_threshold(50_000)  # imports make no garbage, and arrays no cycles: the collector finds nothing
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # numpy's linear algebra, which is not used, starts threads


def _form_for_output() -> str:
    """The screen where there is a terminal, text where there is none."""
    return "screen" if sys.stdout.isatty() and sys.stdin.isatty() else "text"


def main() -> None:
    """Entry point: runs the command and turns every expected failure into one sentence and an exit code."""
    catch()
    try:
        code = _run()
    except BaseException:
        if not ended():
            raise
        # The signal's exception, or what somebody on its way has made of it (a class being defined wraps it).
        code = 0
    if (end := ended()) and code in (0, INTERRUPTED):
        if code == 0:
            click.echo(f"synfin: {end[1]}", err=True)
        code = end[0]
    _let_go_of_output()
    if _alone:
        atexit._run_exitfuncs()
        os._exit(code)
    sys.exit(code)


def _run() -> int:
    """The command that was typed; its exit code."""
    output = sys.stdout
    try:
        synfin(prog_name="synfin", standalone_mode=False)
        sys.stdout.flush()
    except click.exceptions.Exit as done:
        return done.exit_code
    except click.ClickException as wrong:
        wrong.show()
        return USAGE
    except Trouble as trouble:
        from tui.plain import plain  # late: it knows all words for events, which take a while to load

        click.echo(f"synfin: {plain(str(trouble))}", err=True)
        return trouble.code
    except click.exceptions.Abort:  # what click makes of KeyboardInterrupt
        if not ended():
            return INTERRUPTED
    except BrokenPipeError:
        pass  # the reader has gone (`| head`): not a failure
    except SystemExit:
        if sys.stdout is output:  # click exits and puts another output in its place where it noticed the same
            raise
    except PermissionError as refused:
        where = f" {Path(str(refused.filename)).name!r}" if refused.filename else ""
        click.echo(f"synfin: not permitted{where}: {refused.strerror}; `synfin doctor` says what is missing", err=True)
        return CANNOT
    except OSError as failure:
        if failure.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO):
            raise
        click.echo(f"synfin: cannot write: {failure.strerror}", err=True)
        return OUTPUT
    return 0


def _let_go_of_output() -> None:
    """What cannot be written now will not be later: Python must not try again while it folds up."""
    try:
        sys.stdout.flush()
    except OSError:
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if signal.getsignal(signal.SIGINT) == signal.SIG_DFL:
    with contextlib.suppress(ValueError):
        signal.signal(signal.SIGINT, signal.default_int_handler)

if __name__ == "__main__":
    main()
