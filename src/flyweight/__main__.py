"""``python -m flyweight``: the same as the ``flyweight`` command."""

from flyweight.cli import main

main(prog_name="flyweight")
