"""Text from outside made harmless for a terminal, under the name the screens use.

Process names, file names and remarks come from programs that nobody vouches for. tracer.words knows
which characters could move the cursor or make one name look like another; screens draw what is left as text, never as
markup.
"""

from tracer.words import clean as plain

__all__ = ["plain"]
