"""Recordings: a run as a pcapng file that Wireshark opens as it is.

Packets are Enhanced Packet Blocks; every other event is a systemd Journal Export Block in time order between them, with
``MESSAGE=`` in words, which Wireshark and tshark show in the Info column without a plug-in. Each block holds the whole
event in fields of our own, so that a recording replays exactly as it was seen. The file is only ever appended to: cut
off anywhere, it opens up to its last whole block.
"""
