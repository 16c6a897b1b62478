"""Tasks: what a network's output means. One file each: its loss, its metric and the picture of a prediction."""

from flyweight.contracts import TaskMember
from flyweight.family import Family

TASKS: Family[TaskMember] = Family("flyweight.tasks", "task")
