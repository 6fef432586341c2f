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
        What the picture shows, for those who can't see it; exported pages have it as alternative
        text. If nobody says it, it is what is written on the picture.
    """

    alt = ""

    # This comes before what matplotlib tells a notebook about figures in general.
    def _repr_mimebundle_(self, **chosen: Any) -> tuple[dict[str, str], dict[str, Any]]:
        buffer = io.BytesIO()
        self.savefig(buffer, format="png", dpi=96)
        png = base64.b64encode(buffer.getvalue()).decode("ascii")
        return {"image/png": png}, {"image/png": {"alt": self.alt or self._written()}}

    def _written(self) -> str:
        """Return titles and axes."""
        panels = []
        for axes in self.axes:
            named = (("across", axes.get_xlabel()), ("upwards", axes.get_ylabel()))
            scales = [f"{way}: {label}" for way, label in named if label]
            said = ", ".join(filter(None, [axes.get_title(), *scales]))
            if said:
                panels.append(" ".join(said.split()))
        parts = [self.get_suptitle(), *dict.fromkeys(panels)]
        return f"Figure. {'; '.join(filter(None, parts)) or 'Images without titles'}."
