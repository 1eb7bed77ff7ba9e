"""Runs untrusted Python programs, each in a process of its own. Knows nothing of domains.

What holds: a program never runs in the calling process; it has limits of time (wall-clock and CPU), memory, processes,
file size, open files and output; an empty environment, an empty working directory of its own, no inherited descriptors;
and it ends, with all that it started, when its time is over or its host dies. What its answers ought to be is not in
its process.

What does not hold yet: **the file system and the network are not walled off.** A program can read whatever its user may
read, write where its user may write (`/tmp`, say) and open connections. Without a pid namespace (macOS; kernels that
refuse one) a program that starts a session of its own can outlive the kill, and one that runs under the host's own user
can signal the host. `describe()` says what applies on this machine.
"""

from mcpo_rl.sandbox.process import Limits, Outcome
from mcpo_rl.sandbox.report import describe
from mcpo_rl.sandbox.session import CallResult, ProgramSession, ScriptResult, run_checks, run_script

__all__ = ["CallResult", "Limits", "Outcome", "ProgramSession", "ScriptResult", "describe", "run_checks", "run_script"]
