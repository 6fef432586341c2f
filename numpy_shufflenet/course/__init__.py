"""The course: lessons, editions of the lessons, and grading."""
