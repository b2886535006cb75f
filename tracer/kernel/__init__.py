"""The kernel as a source of events: eBPF programs on its tracepoints, fixed-size records in mapped rings.

One C text is compiled by BCC against the running kernel's own BTF (no kernel headers), loaded as typed or raw
tracepoints, and drained in bulk with numpy. Nothing here knows a screen or a scenario; it yields raw records in the
vocabulary's own layout.
"""
