"""The runtimes that networks are exported to, scored in and timed in: one file each.

A member is an object that keeps ``contracts.Runtime``. None of them imports torch before something is exported, so that
a process that only runs an artifact stays small.
"""

from flyweight.contracts import Runtime
from flyweight.family import Family

RUNTIMES: Family[Runtime] = Family("flyweight.runtimes", "runtime")
