"""Other kernels, booted in an emulated machine that holds this Python, BCC and this tree.

One read-only image (squashfs) holds what programs need: the interpreter, the packages, BCC and every library they are
linked with, each at the place where it lies here, so that nothing has to be installed there. Each kernel gets a small
first file system (initramfs) with its own modules, unpacked because the kernel's loader may not know their compression,
and a shell script that mounts the image and runs one command. What the command prints to its third descriptor comes
out of a second serial line as the test's answer. There is no network and no disk that could be written; a machine that
does not end by itself is ended by the clock.
"""

from __future__ import annotations

import gzip
import importlib.metadata
import lzma
import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from packaging.requirements import Requirement

ROOT: Final = Path(__file__).resolve().parent.parent.parent
OURS: Final = ("tracer", "scenarios", "tui", "tests", "captures", "pyproject.toml")
WITH: Final = ("pytest", "pytest-timeout", "pytest-asyncio")
"""Distributions beside those that synfin needs: tests run there as they run here."""
PROGRAMS: Final = ("nft", "ip", "ss")
BCC: Final = Path("/usr/lib/python3/dist-packages/bcc")
MODULES: Final = (
    "kernel/net", "kernel/lib", "kernel/fs/squashfs", "kernel/fs/overlayfs", "kernel/drivers/virtio",
    "kernel/drivers/block", "kernel/drivers/net/veth.ko", "kernel/crypto", "kernel/arch/x86/crypto",
)  # fmt: skip
"""What the machine's own drivers, nft and network namespaces may need."""
BY_NAME: Final = ("librt.so.1", "libdl.so.2", "libpthread.so.0", "libresolv.so.2")
"""Parts of the C library that programs open by name."""
MEMORY: Final = 2048
"""MiB: BCC's compiler takes some 300."""

INIT: Final = """#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin:/usr/bin:/usr/sbin:/sbin HOME=/root LANG=C.UTF-8
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev
for module in virtio_pci virtio_blk squashfs overlay; do modprobe -q $module; done
mount -t squashfs -o ro /dev/vda /image && mount -t tmpfs rw /rw && mkdir /rw/upper /rw/work &&
    mount -t overlay -o lowerdir=/image,upperdir=/rw/upper,workdir=/rw/work whole /whole || poweroff -f
for place in proc sys dev lib/modules; do mount --bind /$place /whole/$place; done
mount --bind /bin /whole/sbin # the kernel asks /sbin/modprobe
ip link set lo up
cd /; exec 3>/dev/ttyS1
chroot /whole /bin/busybox sh /command 3>&3
echo "the command ended with status $?"
poweroff -f
"""


@dataclass(frozen=True)
class Kernel:
    """One kernel as tools/kernels.sh has unpacked it."""

    folder: Path

    @property
    def release(self) -> str:
        """As uname -r has it."""
        return self.folder.name.removeprefix("linux-image-")

    @property
    def version(self) -> tuple[int, ...]:
        """Of the release, for putting them in order."""
        found = re.match(r"(\d+)\.(\d+)", self.release)
        assert found
        return tuple(map(int, found.groups()))

    @property
    def image(self) -> Path:
        """The bootable file."""
        return next(self.folder.rglob("vmlinuz*"))

    @property
    def modules(self) -> Path:
        """Its folder of modules."""
        return next(place for place in self.folder.rglob(f"modules/{self.release}") if (place / "kernel").is_dir())


@dataclass(frozen=True)
class Workshop:
    """The folder that tools/kernels.sh has filled."""

    folder: Path

    def tool(self, name: str) -> str:
        """An unpacked program."""
        return str(self.folder / "tools" / "bin" / name)

    def kernels(self) -> list[Kernel]:
        """Oldest first."""
        found = self.folder / "found"
        names = found.read_text().split() if found.exists() else []
        return sorted((Kernel(self.folder / "kernels" / name) for name in names), key=lambda kernel: kernel.version)

    # The image

    def make_image(self) -> Path:
        """What every machine mounts, made anew from this tree and this environment."""
        image = self.folder / "image.squashfs"
        image.unlink(missing_ok=True)
        stage = self.folder / "stage"
        shutil.rmtree(stage, ignore_errors=True)
        for name in ("proc", "sys", "dev", "tmp", "run", "root", "sbin", "bin", "lib/modules", "etc", "var/tmp"):
            (stage / name).mkdir(parents=True)
        shutil.copy(self._busybox(), stage / "bin")
        (stage / "bin/sh").symlink_to("busybox")
        (stage / "etc/passwd").write_text("root:x:0:0::/root:/bin/sh\n")
        (stage / "etc/hosts").write_text("127.0.0.1 localhost\n")
        (stage / "command").symlink_to("/dev/shm/command")
        for path in sorted(needed()):
            there = stage / path.relative_to("/")
            if not there.exists():
                there.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(path, there, follow_symlinks=True)
        # plain: unpacking costs an emulated processor more than reading costs this one
        words = [self.tool("mksquashfs"), str(stage), str(image), "-noI", "-noD", "-noF", "-noX", "-all-root", "-quiet",
                 "-no-progress"]  # fmt: skip
        subprocess.run(words, check=True, capture_output=True, timeout=300)
        shutil.rmtree(stage)
        return image

    def _busybox(self) -> Path:
        return next(path for path in (self.folder / "tools/root").rglob("bin/busybox"))

    def make_initramfs(self, kernel: Kernel, command: str) -> Path:
        """The first file system of one kernel, which will run this shell command."""
        stage = self.folder / f"first-{kernel.release}"
        shutil.rmtree(stage, ignore_errors=True)
        for name in ("proc", "sys", "dev", "image", "rw", "whole", "bin", "sbin", "lib/modules"):
            (stage / name).mkdir(parents=True)
        shutil.copy(self._busybox(), stage / "bin")
        (stage / "sbin/modprobe").symlink_to("/bin/modprobe")
        script = INIT.replace("cd /;", f"mkdir -p /dev/shm; echo {shlex.quote(command)} >/dev/shm/command; cd /;")
        (stage / "init").write_text(script)
        (stage / "init").chmod(0o755)
        there = stage / "lib/modules" / kernel.release
        for name in ("modules.order", "modules.builtin", "modules.builtin.modinfo"):
            if (kernel.modules / name).exists():
                there.mkdir(exist_ok=True)
                shutil.copy(kernel.modules / name, there)
        for path in kernel.modules.rglob("*.ko*"):
            within = str(path.relative_to(kernel.modules))
            if within.startswith(MODULES):
                target = there / re.sub(r"\.(xz|gz)$", "", within)
                target.parent.mkdir(parents=True, exist_ok=True)
                opened = {".xz": lzma.open, ".gz": gzip.open}.get(path.suffix, Path.open)
                with opened(path, "rb") as packed:
                    target.write_bytes(packed.read())
        subprocess.run([self.tool("busybox"), "depmod", "-b", str(stage), kernel.release], check=True, timeout=120)
        archive = self.folder / f"first-{kernel.release}.cpio"
        listed = subprocess.run(["find", "."], cwd=stage, capture_output=True, check=True).stdout
        with archive.open("wb") as out:
            words = [self.tool("busybox"), "cpio", "-o", "-H", "newc"]
            subprocess.run(words, cwd=stage, input=listed, stdout=out, stderr=subprocess.DEVNULL, check=True)
        shutil.rmtree(stage)
        return archive

    # The machine

    def run(self, kernel: Kernel, image: Path, command: str, within: float) -> tuple[str, str]:
        """Boot this kernel, run the command, end. What it wrote to descriptor 3, and all that the console showed."""
        first = self.make_initramfs(kernel, command)
        answer = self.folder / f"answer-{kernel.release}"
        answer.unlink(missing_ok=True)
        words = [
            self.tool("qemu-system-x86_64"), "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
            "-L", str(next((self.folder / "tools/root").rglob("usr/share/qemu"))),
            "-L", str(next((self.folder / "tools/root").rglob("usr/share/seabios"))),
            # One plain processor: what newer ones have is emulated with faults that crash some kernels, and so is the
            # patching of code that another one is running (text_poke_bp_batch() on 6.12). The kernel does without
            # cmpxchg16b (feature 141), too: an interrupt behind it finds flags that are part of an address (a double
            # fault in __kmalloc_noprof() on 6.12).
            "-accel", "tcg", "-cpu", "Nehalem", "-smp", "1", "-m", str(MEMORY),
            "-kernel", str(kernel.image), "-initrd", str(first),
            "-append", "console=ttyS0 panic=-1 loglevel=5 clearcpuid=141",
            "-drive", f"file={image},format=raw,if=virtio,readonly=on",
            "-serial", "stdio", "-serial", f"file:{answer}",
        ]  # fmt: skip
        try:
            told = subprocess.run(words, capture_output=True, timeout=within, check=False, stdin=subprocess.DEVNULL)
            console = told.stdout + told.stderr
        except subprocess.TimeoutExpired as late:
            console = (late.stdout or b"") + f"\nended after {within:.0f} s".encode()
        finally:
            first.unlink()
        text = answer.read_text(errors="replace") if answer.exists() else ""
        return text, console.decode(errors="replace")


# What is in the image


def needed() -> set[Path]:
    """Every file that the interpreter, BCC and this tree need, each where a program here would find it."""
    files = set(
        _files(Path(sysconfig.get_path("stdlib")), ("site-packages", "test", "idlelib", "lib2to3", "ensurepip"))
    )
    here = Path(sys.prefix)
    files |= {here / "pyvenv.cfg", *(here / "bin").glob("python*")}
    files |= {Path(sys.executable).resolve()}
    for distribution in _distributions():
        for path in distribution.files or ():
            place = Path(str(distribution.locate_file(path)))
            if place.is_file() and place.suffix != ".pyc":
                files.add(Path(os.path.normpath(place)))
    for name in OURS:
        files |= set(_files(ROOT / name, ("__snapshots__",)))
    files |= set(_files(BCC, ()))
    files |= {Path(found) for name in PROGRAMS if (found := shutil.which(name))}
    libraries = [path for path in files if ".so" in path.name or path.name.startswith("python")]
    libraries += [path for path in files if path.name in PROGRAMS]
    libraries += list(Path("/usr/lib").glob("*/libbcc.so.0"))
    libraries += [path.parent / name for path in linked(libraries) for name in BY_NAME if path.name == "libc.so.6"]
    files |= set(libraries) | linked(libraries)
    return files


def _files(place: Path, without: tuple[str, ...]) -> Iterator[Path]:
    if place.is_file():
        yield place
    for folder, names, inside in os.walk(place):
        names[:] = [name for name in names if name not in (*without, "__pycache__", "node_modules")]
        yield from (Path(folder) / name for name in inside)


def _distributions() -> list[importlib.metadata.Distribution]:
    """synfin's own requirements and all that they require, without extras."""
    found: dict[str, importlib.metadata.Distribution] = {}
    asked = ["synfin", *WITH]
    while asked:
        name = asked.pop()
        if name.lower() in found:
            continue
        found[name.lower()] = distribution = importlib.metadata.distribution(name)
        for line in distribution.requires or ():
            requirement = Requirement(line)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                asked.append(requirement.name)
    return list(found.values())


def linked(programs: list[Path]) -> set[Path]:
    """Every library that these need, and the loader, where the loader looks for them."""
    told = subprocess.run(["ldd", *map(str, programs)], capture_output=True, text=True, check=False).stdout
    return {Path(name) for name in re.findall(r"(?:=> |^\s+)(/\S+) \(0x", told, re.MULTILINE)}
