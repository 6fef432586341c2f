"""A figure that any notebook shows, whichever backend matplotlib has there."""

import io

from matplotlib.figure import Figure


class NotebookFigure(Figure):
    """A Figure that is a picture by itself: no backend and no pyplot is needed to see it.

    Attributes
    ----------
    alt : str
        What the picture shows, for who can't see it; exported pages have it as alternative text.
    """

    alt = ""

    def _repr_png_(self) -> tuple[bytes, dict[str, str]]:
        buffer = io.BytesIO()
        self.savefig(buffer, format="png", dpi=96)
        return buffer.getvalue(), {"alt": self.alt} if self.alt else {}
