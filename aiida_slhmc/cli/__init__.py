"""The ``aiida-slhmc`` command: thin commands around what the other parts do. Nothing imports it."""
