"""What every test shares: which tests can run here, and a count of those that could not.

A test says what it needs by a mark, never by looking for itself: ``kernel`` (rights, BTF and BCC), ``corpora`` (the
test captures), ``needs`` (programs to compare with), ``slow``. What is missing is named in the skip. Kernel tests run
one after another in one xdist worker: many look at what the whole machine has loaded, or count what happens in a
network that others use. Those that only play on a stage of their own say ``kernel(own_network=True)`` and run in any
worker: their probes take nothing but that network. The queue goes first, for as the longest it must not start last;
then the plays, which wait more than they compute.

A suite whose kernel tests all skip looks as green as one whose kernel tests pass. So the end of a run counts them,
and with ``--kernel-must-run`` (as CI runs it) a kernel test that did not run fails the run, wherever root and BTF say
that it could have. Exempt are only tests whose corpora or programs are missing, and those that find out, past all
probing, that the kernel is too old: their skip reason begins with "kernel lacks".
"""

from __future__ import annotations

import functools
import importlib.util
import os
import shutil
import signal
import sys
from collections import Counter
from pathlib import Path
from typing import Final

import pytest
from hypothesis import HealthCheck, settings

ROOT: Final = Path(__file__).resolve().parent.parent
BTF: Final = Path("/sys/kernel/btf/vmlinux")
DEBIAN_BCC: Final = Path("/usr/lib/python3/dist-packages/bcc/__init__.py")
UNPACKED: Final = Path(sys.prefix) / "programs" / "bin"
"""Where set-up (tools/setup.sh) puts starters of programs that tests trace."""
CAP_SYS_ADMIN: Final = 21
CAP_BPF: Final = 39
"""Bit numbers of linux/capability.h; kernels before 5.8 have only the first."""

# A machine that is busy with other things is no reason to fail.
settings.register_profile("synfin", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("synfin")

APART: Final = ("slow", "kernels")
"""Marks of tests that run only when asked for by -m."""
KERNEL_GATE: Final = "kernel test: "
EXEMPT: Final = ("corpora test: ", "needs test: ", "kernel lacks")
"""Beginnings of skip reasons that ``--kernel-must-run`` lets pass."""


def _effective_capabilities() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapEff:"):
            return int(line.split()[1], 16)
    return 0


@functools.cache
def kernel_missing() -> str:
    """What keeps this process from tracing the kernel, in words; empty when nothing does."""
    if not Path("/proc/self/status").exists():
        return "not Linux"
    if os.geteuid() != 0:
        return "not root"
    if not _effective_capabilities() & (1 << CAP_BPF | 1 << CAP_SYS_ADMIN):
        return "root without CAP_BPF (a container?)"
    if not BTF.exists():
        return f"no {BTF} (kernel without BTF)"
    if importlib.util.find_spec("bcc") is None and not DEBIAN_BCC.exists():
        return "no BCC (package python3-bpfcc)"
    return ""


def corpora_path() -> Path | None:
    """Folder of the test captures: ``$SYNFIN_CORPORA``, or ``shared/corpora`` beside the clone; None if absent."""
    named = os.environ.get("SYNFIN_CORPORA")
    path = Path(named) if named else ROOT.parent / "shared" / "corpora"
    return path if path.is_dir() else None


@pytest.fixture(scope="session")
def corpora() -> Path:
    """Folder of the test captures; skips the test where there is none."""
    path = corpora_path()
    if path is None:
        pytest.skip("corpora test: no captures at $SYNFIN_CORPORA or ../shared/corpora")
    return path


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--kernel-must-run",
        action="store_true",
        help="fail if, as root on a kernel with BTF, a kernel test was skipped or none was there",
    )
    parser.addoption("--repeat", type=int, default=0, metavar="N", help="play each scenario N times")


def _missing(item: pytest.Item) -> str:
    """Why this test cannot run here; empty when it can."""
    if item.get_closest_marker("corpora") and corpora_path() is None:
        return "corpora test: no captures at $SYNFIN_CORPORA or ../shared/corpora"
    programs = [str(name) for mark in item.iter_markers("needs") for name in mark.args]
    absent = [name for name in programs if shutil.which(name) is None]
    if absent:
        return f"needs test: no {', '.join(absent)}"
    if item.get_closest_marker("kernel") and kernel_missing():
        return KERNEL_GATE + kernel_missing()
    return ""


def _place(item: pytest.Item) -> int:
    """Kernel tests that run one after another come first, then those beside them, then all others."""
    mark = item.get_closest_marker("kernel")
    return 2 if mark is None else int(bool(mark.kwargs.get("own_network")))


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for mark in APART:
        apart = [item for item in items if item.get_closest_marker(mark)]
        if apart and mark not in str(config.option.markexpr):
            items[:] = [item for item in items if item not in set(apart)]
            config.hook.pytest_deselected(items=apart)
    items.sort(key=_place)  # stable: else as found
    for item in items:
        if kernel := item.get_closest_marker("kernel"):
            if not kernel.kwargs.get("own_network"):
                item.add_marker(pytest.mark.xdist_group("kernel"))
            item.user_properties.append(("kernel", True))  # travels with the report from worker to controller
        missing = _missing(item)
        if missing:
            item.add_marker(pytest.mark.skip(reason=missing))


class KernelCount:
    """Counts what became of the kernel tests; lives where reports arrive (the xdist controller, or the one process)."""

    def __init__(self, must_run: bool) -> None:
        self.must_run = must_run
        self.outcomes: Counter[str] = Counter()
        self.skips: list[str] = []
        """Test and reason of every skip that is not exempt."""

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if ("kernel", True) not in [tuple(pair) for pair in report.user_properties]:
            return
        if report.skipped:
            reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
            reason = reason.removeprefix("Skipped: ")
            self.outcomes["skipped"] += 1
            if not reason.startswith(EXEMPT):
                self.skips.append(f"{report.nodeid.removesuffix('@kernel')}: {reason}")
        elif report.when == "call":
            self.outcomes[report.outcome] += 1

    def complaint(self) -> str:
        """Why the run fails under ``--kernel-must-run``; empty when it does not."""
        if not self.must_run or os.geteuid() != 0 or not BTF.exists():
            return ""
        if self.skips:
            return "kernel tests were skipped on a machine that can trace:\n  " + "\n  ".join(self.skips)
        return "" if self.outcomes["passed"] + self.outcomes["failed"] else "no kernel test ran"

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self.complaint() and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        words = ", ".join(f"{count} {outcome}" for outcome, count in sorted(self.outcomes.items()))
        if words:
            terminalreporter.write_line(f"kernel tests: {words}")
        if self.complaint():
            terminalreporter.write_line(f"--kernel-must-run: {self.complaint()}", red=True)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """`--lf` would not know what failed by the name that xdist gives it, `...@kernel`, and so run everything."""
    cache = session.config.cache
    if cache is not None and not hasattr(session.config, "workerinput"):
        failed: dict[str, bool] = cache.get("cache/lastfailed", {})
        cache.set("cache/lastfailed", {test.removesuffix("@kernel"): True for test in failed})


@pytest.fixture(autouse=True, scope="session")
def _nothing_remembered(tmp_path_factory: pytest.TempPathFactory) -> None:
    """What screens remember (tui/memory.py) is neither read from the user's folder nor left there."""
    os.environ["XDG_STATE_HOME"] = str(tmp_path_factory.mktemp("state"))


def pytest_configure(config: pytest.Config) -> None:
    # Who is started in the background of a script ignores Ctrl-C, and so does whatever it starts (POSIX, XCU 2.12);
    # what the tests interrupt must not.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if str(UNPACKED) not in os.environ["PATH"].split(os.pathsep):
        os.environ["PATH"] += os.pathsep + str(UNPACKED)
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(KernelCount(config.getoption("--kernel-must-run")), "synfin-kernel-count")
