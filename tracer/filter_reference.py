"""docs/filters.md, made from the tables of keys, values and columns (``make docs``); a test compares."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from tracer.filter_keys import KEYS
from tracer.filter_tables import COLUMNS, FILE
from tracer.filter_values import SEVERITIES, TYPES

_INTRODUCTION: Final = """# Display filters

Made from `tracer/filter_keys.py` and `tracer/filter_tables.py` by `make docs`; do not edit.

    synfin analyze trace.pcap -Y 'state:time-wait bytes>1M'
    synfin analyze trace.pcap --packets -Y 'port:8080 and (analysis:retransmission or severity>=warn)'
    synfin analyze trace.pcap --states -Y 'side:client new:fin-wait-1 time<2s'

A condition is key, operator, value, without spaces inside the value:

| written | holds where |
|---|---|
| `port:80` (or `=`, `==`) | the value is this |
| `port:80,443` | it is one of these (`flag:syn,ack`: all of these bits are set) |
| `port:8000-8100` | it lies in the range, both ends included |
| `len>1k`, `>=`, `<`, `<=` | it is more, less |
| `port!=80` | `port:80` does not hold: neither port is 80 |
| `text:"two words"` | the same; quotes allow spaces, commas and parentheses, `\\` stands before a quote |

Conditions side by side must all hold, as with `and` (`&&`). `or` (`||`) binds weaker, `not` (`!`) stronger, parentheses
group. A key that looks at two things (`port`, `ip`, a connection's `state`) holds where either meets the condition. A
condition on something that a row does not have is false. Case does not matter, nor `-` or `_` in names.
"""

_NOTES: Final = f"""
States are accepted as the kernel, the RFC and `ss` write them, and by the groups of `ss`. Severities go from mild to
severe: {", ".join(SEVERITIES)}; `severity>=warn` is warn and error.
"""

_TITLES: Final = {
    "packets": "`synfin analyze --packets`",
    "connections": "`synfin analyze --connections`",
    "states": "`synfin analyze --states`",
}


def filters() -> str:
    """The page."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    yield _INTRODUCTION
    yield "## Keys\n"
    yield "| key | value | for | meaning |"
    yield "|---|---|---|---|"
    for key in KEYS:
        also = "".join(f", `{alias}`" for alias in key.aliases)
        yield f"| `{key.name}`{also} | {key.type} | {', '.join(key.tables)} | {key.meaning} |"
    yield "\n## Values\n"
    yield "| value | written | order |"
    yield "|---|---|---|"
    for name, kind in TYPES.items():
        yield f"| {name} | {kind.example} | {'yes' if kind.ordered else ''} |"
    yield _NOTES
    yield "# Columns\n"
    yield "What `--json`, `--csv` and `--parquet` write. Nothing known is `null`, in csv an empty field. In csv a list"
    yield "is joined by `;` and times are written `STATE=ns`, joined by `;`. With several files each row begins with"
    yield f"`{FILE.name}`: {FILE.meaning}."
    for table, columns in COLUMNS.items():
        yield f"\n## {_TITLES[table]}\n"
        yield "| column | type | unit | meaning |"
        yield "|---|---|---|---|"
        for column in columns:
            yield f"| `{column.name}` | {column.type} | {column.unit} | {column.meaning} |"
