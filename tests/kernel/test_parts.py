"""The parts that need no kernel, and what can be asked of this one without probing it."""

from __future__ import annotations

import os
import struct
import sys
import time
from pathlib import Path

import pytest

from tracer.events import RING_HEAD, RING_PAYLOAD, c_declarations, c_name
from tracer.kernel import bcc_import, clock, symbols, syscalls
from tracer.kernel.attach import Mode
from tracer.kernel.btf import Btf, BtfError, KernelTypes
from tracer.kernel.doctor import capabilities, examine, missing_rights
from tracer.kernel.fields import FIELDS, Row, c_accessors, find, missing
from tracer.kernel.image import Image, Images, Loaded, MapSpec
from tracer.kernel.probes import PROBES, SYMBOLS
from tracer.kernel.program import PLACEHOLDER
from tracer.kernel.source import image_of
from tracer.kinds import KINDS, SYSCALLS


class Writer:
    """Builds a BTF section entry by entry, as btf.rst describes it."""

    def __init__(self) -> None:
        self.types = b""
        self.strings = b"\0"

    def name(self, text: str) -> int:
        if not text:
            return 0
        self.strings += text.encode() + b"\0"
        return len(self.strings) - len(text) - 1

    def add(self, name: str, kind: int, count: int, size: int, *words: int, flag: int = 0) -> None:
        self.types += struct.pack("<III", self.name(name), flag << 31 | kind << 24 | count, size)
        self.types += b"".join(struct.pack("<I", word & 0xFFFFFFFF) for word in words)

    def section(self) -> bytes:
        header = struct.pack("<HBBIIIII", 0xEB9F, 1, 0, 24, 0, len(self.types), len(self.types), len(self.strings))
        return header + self.types + self.strings


@pytest.fixture
def btf() -> Btf:
    w = Writer()
    w.add("int", 1, 0, 4, 1 << 24 | 32)  # 1: signed
    w.add("u64", 1, 0, 8, 64)  # 2
    w.add("", 3, 0, 0, 1, 2, 3)  # 3: int[3]
    w.add("", 5, 2, 8, w.name("whole"), 2, 0, w.name("part"), 1, 32)  # 4: anonymous union
    w.add("inner", 4, 1, 16, w.name("deep"), 3, 32)  # 5
    fields = [w.name("state"), 1, 3 | 5 << 24, w.name(""), 4, 64, w.name("in"), 5, 128, w.name("next"), 7, 256]
    w.add("thing", 4, 4, 40, *fields, flag=1)  # 6: bit field of 5 at bit 3
    w.add("", 2, 0, 6)  # 7: struct thing *
    w.add("colour", 6, 2, 4, w.name("RED"), 0, w.name("BLUE"), -1, flag=1)  # 8
    w.add("", 13, 3, 0, 0, 0, 0, 7, 0, 1)  # 9: void (void *, struct thing *, int)
    w.add("", 2, 0, 9)  # 10
    w.add("btf_trace_seen", 8, 0, 10)  # 11
    w.add("big", 19, 1, 8, w.name("HUGE"), 5, 1)  # 12: enum64
    w.add("doit", 12, 0, 9)  # 13: function
    return Btf(w.section())


def test_btf_finds_fields_however_deep(btf: Btf) -> None:
    state, part, deep, third = (btf.field(f"thing.{p}") for p in ("state", "part", "in.deep", "in.deep.2"))
    assert state is not None and (state.offset, state.size, state.bit, state.bits) == (0, 1, 3, 5)
    assert part is not None and (part.offset, part.size, part.signed) == (12, 4, True)
    assert deep is not None and (deep.offset, deep.size) == (20, 12)
    assert third is not None and (third.offset, third.size) == (28, 4)
    assert (
        btf.field("thing.absent") is None and btf.field("nothing.at.all") is None and btf.field("thing.next.x") is None
    )
    assert btf.size("thing") == 40 and btf.size("nothing") is None


def test_btf_names_numbers_and_prototypes(btf: Btf) -> None:
    assert btf.enum("colour") == {0: "RED", -1: "BLUE"}
    assert btf.enum("big") == {5 | 1 << 32: "HUGE"} and btf.enum("nothing") == {}
    seen = btf.tracepoint("seen")
    assert seen is not None and seen.btf_id == 11
    assert [(argument.size, argument.pointer) for argument in seen.args] == [(8, "thing"), (4, "")]
    assert btf.tracepoint("unseen") is None
    assert btf.function("doit") == 13 and btf.function("undone") is None


@pytest.mark.parametrize("raw", [b"", b"\x9f\xeb", b"\0" * 64])
def test_what_is_no_btf_is_refused(raw: bytes) -> None:
    with pytest.raises(BtfError):
        Btf(raw)


def test_answers_are_kept_and_a_cache_that_cannot_be_written_breaks_nothing(tmp_path: Path, btf: Btf) -> None:
    file = tmp_path / "vmlinux"
    w = Writer()
    w.add("int", 1, 0, 4, 32)
    w.add("point", 4, 2, 8, w.name("x"), 1, 0, w.name("y"), 1, 32)
    file.write_bytes(w.section())
    first = KernelTypes(file, tmp_path / "cache")
    assert first.field("point.y") == Btf(file.read_bytes()).field("point.y")
    assert first.save() and not first.save()
    again = KernelTypes(file, tmp_path / "cache")
    assert again.field("point.y") == first.field("point.y")
    assert again._btf is None  # the file was not parsed
    nowhere = KernelTypes(file, file / "not" / "a" / "folder")
    assert nowhere.field("point.x") is not None and not nowhere.save()
    for damaged in tmp_path.glob("cache/*.json"):
        damaged.write_text("{")
    assert KernelTypes(file, tmp_path / "cache").field("point.x") is not None
    with pytest.raises(BtfError, match="BTF"):
        KernelTypes(tmp_path / "absent", tmp_path / "other")


def test_accessors_exist_for_absent_fields_too(btf: Btf) -> None:
    text = c_accessors(btf)
    assert "#define HAVE_skc_state 0" in text and "skc_state(u64 p, const int typed) { return 0; }" in text
    assert find(btf, Row("x", ("thing.absent", "thing.in"))) == btf.field("thing.in")
    assert len(missing(btf)) == len(FIELDS)


def test_addresses_that_are_hidden_are_not_found(tmp_path: Path) -> None:
    file = tmp_path / "kallsyms"
    file.write_text(
        "ffffffff81000000 t other_one\nffffffff81000010 t one\nffffffff81000020 T two\n0000000000000000 t three\n"
    )
    assert symbols.look_up(("one", "two", "three", "four"), file) == {
        "one": 0xFFFFFFFF81000010,
        "two": 0xFFFFFFFF81000020,
    }
    assert symbols.look_up(("one",), tmp_path / "absent") == {}


def test_bcc_is_found_beside_the_environment_or_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name == "bcc" or name.startswith("bcc.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "path", [])
    with pytest.raises(bcc_import.BccMissing, match="python3-bpfcc"):
        bcc_import.import_bcc((tmp_path,))
    (tmp_path / "bcc").mkdir()
    (tmp_path / "bcc" / "__init__.py").write_text("BPF = 'found'")
    assert bcc_import.import_bcc((tmp_path,)).BPF == "found"
    del sys.modules["bcc"]
    (tmp_path / "bcc" / "__init__.py").write_text("raise OSError('libbcc.so.0: no such file')")
    with pytest.raises(bcc_import.BccMissing, match=r"libbcc\.so\.0"):
        bcc_import.import_bcc((tmp_path,))
    assert "bcc" not in sys.modules


def test_the_tightest_bracket_wins() -> None:
    monotonic = iter([0, 1000, 2000, 2010, 3000, 3500])
    realtime = iter([10_500, 12_005, 13_300])
    found = clock.measure(3, lambda: next(monotonic), lambda: next(realtime))
    assert (found.ns, found.error_ns) == (10_000, 5)
    assert abs(clock.Clock().offset.ns + time.monotonic_ns() - time.time_ns()) < 50_000_000
    with pytest.raises(ValueError, match="attempt"):
        clock.measure(0)


def test_every_call_has_a_number() -> None:
    x86, arm = syscalls.numbers("x86_64"), syscalls.numbers("aarch64")
    assert {SYSCALLS[index] for index in x86.values()} == set(SYSCALLS) - {"?"}
    assert {SYSCALLS[index] for index in arm.values()} <= set(SYSCALLS) and arm[203] == syscalls.CALL["connect"]
    assert max(x86) < syscalls.MAX_NUMBER and syscalls.numbers("pdp11") == {}
    assert {"accept4", "read"} <= syscalls.FD_CALLS <= set(SYSCALLS)


def test_probe_rows_name_what_exists() -> None:
    accessors = {row.accessor for row in FIELDS}
    assert len(accessors) == len(FIELDS)
    for probe in PROBES:
        assert set(probe.needs) <= accessors and set(probe.symbols) <= set(SYMBOLS) and probe.hooks
        kinds = {word for word in probe.gives.replace(";", ",").replace(",", " ").split() if ":" in word}
        assert kinds <= {kind.name for kind in KINDS}
    given = " ".join(probe.gives for probe in PROBES)
    assert [kind.name for kind in KINDS if kind.ring and kind.name not in given] == []


def test_capabilities_are_read_and_missed(tmp_path: Path) -> None:
    status = tmp_path / "status"
    status.write_text("Name:\tx\nCapEff:\t000000c000000000\n")
    assert capabilities(status) == {"CAP_BPF", "CAP_PERFMON"} and missing_rights(capabilities(status)) == ""
    status.write_text("CapEff:\t0000000000000000\n")
    assert missing_rights(capabilities(status)).startswith("kernel probes need CAP_BPF and CAP_PERFMON")
    assert missing_rights(frozenset({"CAP_SYS_ADMIN"})) == ""
    assert missing_rights(capabilities(tmp_path / "absent"))


def test_images_come_only_from_a_folder_of_ours(tmp_path: Path) -> None:
    load = struct.pack("<BBhi", 0x18, 1 << 4, 0, 77) + bytes(8) + struct.pack("<BBhi", 0x95, 0, 0, 77)
    spec = MapSpec("m", 2, 4, 8, 1, 0)
    image = Image((spec,), {"p": load})
    images = Images(tmp_path / "images")
    assert images.get("text") is None and images.put("text", image)
    assert images.get("text") == image and images.get("other text") is None
    (tmp_path / "images").chmod(0o777)
    assert images.get("text") is None
    (tmp_path / "images").chmod(0o700)
    kept = next((tmp_path / "images").glob("*.json"))
    kept.chmod(0o666)
    assert images.get("text") is None
    kept.chmod(0o600)
    kept.write_text("{}")
    assert images.get("text") is None
    assert not Images(kept / "under").put("text", image)
    for number in range(10):
        images.put(str(number), image)
    assert len(list((tmp_path / "images").glob("*.json"))) == 6


def test_constants_are_put_where_they_are_loaded() -> None:
    def load(number: int) -> bytes:
        low, high = struct.unpack("<ii", number.to_bytes(8, "little"))
        return struct.pack("<BBhi", 0x18, 1, 0, low) + struct.pack("<BBhi", 0, 0, 0, high)

    address = 0xFFFFFFFF81234567
    code = load(PLACEHOLDER["tw_timer_handler"]) + load(77) + struct.pack("<BBhi", 0xB7, 0, 0, 77)
    loaded = Loaded(Image((), {"p": code}), {PLACEHOLDER["tw_timer_handler"]: address})
    assert loaded.program("p") == load(address) + code[16:]


@pytest.mark.kernel
def test_every_placeholder_is_in_the_programs() -> None:
    """Were one folded away or split by the compiler, its probe would be silent."""
    image = image_of(KernelTypes(), Mode.TP_BTF)
    for name, number in PLACEHOLDER.items():
        low, high = struct.unpack("<ii", number.to_bytes(8, "little"))
        first, second = struct.pack("<i", low), struct.pack("<i", high)
        users = [
            program
            for program, code in image.programs.items()
            if any(code[i + 4 : i + 8] == first and code[i + 12 : i + 16] == second for i in range(0, len(code), 8))
        ]
        expected = {"reqsk_timer_handler": 3, "tw_timer_handler": 3, "ep_poll_callback": 6}
        assert len(users) == expected.get(name, 1), (name, users)


@pytest.mark.kernel
def test_this_kernel_has_every_field() -> None:
    types = KernelTypes()
    absent = missing(types)
    if absent:
        pytest.skip(f"kernel lacks {absent}")
    assert all(finding.good for finding in examine())
    state = types.field("sock_common.skc_state")
    assert state is not None and state.size == 1
    comm = types.field("task_struct.comm")
    assert comm is not None and comm.size == 16
    assert types.enum("tcp_ca_state")[3] == "TCP_CA_Recovery"


@pytest.mark.kernel
def test_c_and_numpy_agree_on_every_offset() -> None:
    """The compiler itself compares: a wrong offset does not compile."""
    from tracer.events import NUMBER
    from tracer.kernel.compile import compile_text

    checks = []
    layouts = [("head", RING_HEAD, 0)]
    layouts += [(c_name(kind), RING_PAYLOAD[NUMBER[kind.name]], RING_HEAD.itemsize) for kind in KINDS if kind.ring]
    for name, layout, base in layouts:
        for field in layout.names or ():
            offset = base + layout.fields[field][1]  # type: ignore[index]
            checks.append(f'_Static_assert(__builtin_offsetof(struct {name}, {field}) == {offset}, "{name}.{field}");')
    assert len(checks) > 150
    compile_text(c_declarations() + "\n".join(checks) + "\nint nothing(void *ctx) { return 0; }\n")


@pytest.mark.kernel
def test_no_path_of_this_machine_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Compiles without kernel headers, and leaves environment and working directory as they were."""
    from tracer.kernel.compile import compile_text

    monkeypatch.delenv("BCC_KERNEL_SOURCE", raising=False)
    image = compile_text(
        "BPF_ARRAY(numbers, u32, 4);\nint one(volatile u64 *ctx) { u32 k = 0; return numbers.lookup(&k) != 0; }"
    )
    assert "BCC_KERNEL_SOURCE" not in os.environ
    assert [spec.name for spec in image.maps] == ["numbers"] and list(image.programs) == ["one"]
