"""A recording as a source of events."""

from __future__ import annotations

from typing import BinaryIO

from tracer.batch import Batch, merge
from tracer.recording.reader import RecordingReader
from tracer.session import Losses


class RecordingSource:
    """Hands over a recording batch by batch, as fast as it is asked."""

    def __init__(self, file: BinaryIO, size: int | None = None) -> None:
        """``size``: bytes of the unpacked file, where that is known."""
        self.reader = RecordingReader(file)
        self.finished = False
        """All that can be read has been handed over."""
        self._file, self._size = file, size
        self._batches = self.reader.batches()
        self._written = 0

    @property
    def progress(self) -> float | None:
        """Part of the file that has been read, 0 to 1; None where its length is not known."""
        return min(self.reader.position / self._size, 1.0) if self._size else None

    def drain(self) -> Batch:
        """The next few thousand events; empty when there are no more."""
        batch = next(self._batches, None)
        if batch is None:
            self.finished = True
            return merge([])
        self._written += len(batch)
        return batch

    def losses(self) -> Losses:
        """Nothing is lost in reading; what was lost in recording is in the recording, as events."""
        return Losses(self._written, 0)

    def stop(self) -> None:
        """Close the file."""
        self._file.close()
