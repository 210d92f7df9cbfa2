"""The process: a command with its signals and exit code, its memory, and imports that leave it as it was.

Only the command is imported here, since it wants its handlers before anything else.
"""

from hlvm._process.command import BAD_INPUT, begin, complain, hold_back_log, run, run_whole_process, stopped

__all__ = ["BAD_INPUT", "begin", "complain", "hold_back_log", "run", "run_whole_process", "stopped"]
