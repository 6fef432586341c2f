"""A figure that any notebook shows, whichever backend matplotlib has there."""

import base64
import io
from typing import Any

from matplotlib.figure import Figure


class NotebookFigure(Figure):
    """A Figure that is a picture by itself: no backend and no pyplot is needed to see it.

    Attributes
    ----------
    alt : str
        What the picture shows, for who can't see it; exported pages have it as alternative text.
    """

    alt = ""

    def _repr_mimebundle_(
        self, include: Any = None, exclude: Any = None
    ) -> tuple[dict[str, str], dict[str, dict[str, str]]]:
        """Return the picture and its metadata; matplotlib's own formatter would drop the latter."""
        buffer = io.BytesIO()
        self.savefig(buffer, format="png", dpi=96)
        png = base64.b64encode(buffer.getvalue()).decode("ascii")
        return {"image/png": png}, {"image/png": {"alt": self.alt}} if self.alt else {}
