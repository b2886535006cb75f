"""Claims about TCP and its programs, each decided by what happens when it is put to the test."""
