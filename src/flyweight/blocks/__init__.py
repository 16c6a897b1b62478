"""The modules that a spec may name: one file per idea.

A file offers stage blocks (``MEMBERS``: name -> builder) or heads (the same, for ``HeadSpec.kind``). A builder takes
the
stage or head, the shapes of what comes in, and the spec, and returns an ``nn.Module``.
"""

from flyweight.family import Family

BLOCKS: Family[object] = Family("flyweight.blocks", "block")
