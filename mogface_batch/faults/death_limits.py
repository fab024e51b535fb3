"""How many deaths of processes are accepted, by the ledger, the engines and the process pool alike."""

MAX_DEATHS_ALONE = 3
"""Work that was alone in its process when that process died is given up after so many deaths."""
JOB_DEATHS_FOR_ONE = 2
"""The death of the whole job is weaker evidence than that of a process, since a preemption looks the same."""
MAX_DEATHS_IN_A_ROW = 30
"""With so many deaths and no result between them the machine is at fault, not the work: the job ends."""
MAX_FAILED_STARTS = 3
"""Processes that die in a row before their first task; then the job ends."""
