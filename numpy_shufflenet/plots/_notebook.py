"""A figure that any notebook shows, whichever backend matplotlib has there."""

import io

from matplotlib.figure import Figure


class NotebookFigure(Figure):
    """A Figure that is a picture by itself: no backend and no pyplot is needed to see it."""

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        self.savefig(buffer, format="png", dpi=96)
        return buffer.getvalue()
