"""One module for each command, with `add_arguments(parser)` and `run(arguments)`.

A module's docstring is the command's help: its first line says what the command does, and the rest
gives examples.
"""
