"""The page of the docs that says which probe hangs where on which kernel, made from what the kernels have told."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from tracer.kernel.attach import Mode
from tracer.kernel.probes import PROBES

Told = dict[str, dict[str, Any]]

HEAD: Final = """\
# Kernels

`make kernels` boots each of these kernels (Debian's, for virtual machines) in an emulated machine, plays `half-close`
under all probes in both modes, and writes this page from what they told. Nothing is installed for it: emulator and
kernels are unpacked into the environment. In every mode that a kernel takes, both ends' states were all observed and in
the order of RFC 9293, nothing contradicted the rules and nothing was lost.

A probe names its hooks in order of preference, and the first that the running kernel's BTF knows is taken; what is
missing switches off its row alone (`synfin doctor` says so). `sk_data_ready` is a tracepoint since 6.3; before, the
entry of `sock_def_readable` stands in for it (fentry), so nothing is missing there. `tcp_cong_state_set` is a
tracepoint since 5.19; before, the congestion state is known only as every record about a socket has it. With types
(tp_btf) probes are faster and sockets have cookies; kernels before 5.12 do not lend a tracing program the helper for
that, and are traced without (raw_tp).

"""


def _mode(told: Told, mode: Mode) -> str:
    line = told.get(mode.value, {})
    if "probes" not in line:
        return "refused"
    on = sum(1 for _, _, on, _ in line["probes"] if on)
    own = ", rings and tables of our own" if line.get("own") else ""
    return f"{on} of {len(line['probes'])} probes, {len(line['kinds'])} kinds of event{own}"


def _hook(told: Told, program: str) -> str:
    for mode in Mode:
        for name, hook, on, why in told.get(mode.value, {}).get("probes", ()):
            if name == program:
                fentry = any(each.name == hook and each.fentry for probe in PROBES for each in probe.hooks)
                return (f"fentry `{hook}`" if fentry else "tracepoint") if on else f"off: {why}"
    return "not known"


def page(visits: list[Told]) -> str:
    """The whole page, in Markdown."""
    names = [told["kernel"]["release"] for told in visits]
    lines = ["| | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    for mode in Mode:
        lines.append(f"| mode {mode.value} | " + " | ".join(_mode(told, mode) for told in visits) + " |")
    for probe in PROBES:
        lines.append(
            f"| `{probe.program}`: {probe.gives} | " + " | ".join(_hook(told, probe.program) for told in visits) + " |"
        )
    return HEAD + "\n".join(lines) + "\n"


def write(visits: list[Told], path: Path) -> None:
    """Write the page."""
    path.write_text(page(visits), encoding="utf-8")
