"""What each command does: a module a command, with `add_arguments(parser)` and `run(arguments)`.

A module's docstring is the command's help: the first line what it does, the rest examples.
"""
