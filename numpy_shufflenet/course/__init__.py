"""The course: its lessons, the editions that are made of them, and the grading of exercises."""
