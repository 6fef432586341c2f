"""Without compiled code there is nothing to keep on disk, or to compare with plain Python."""

from machine_code import COMPILED

collect_ignore = [] if COMPILED else ["test_cache.py", "test_compiled.py"]
