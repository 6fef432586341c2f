"""A figure that any notebook shows, whichever backend matplotlib has there."""

import base64
import io
from typing import Any

from matplotlib.figure import Figure


class NotebookFigure(Figure):
    """A Figure that is a picture by itself: no backend and no pyplot is needed to see it."""

    # This comes before what matplotlib tells a notebook about figures in general.
    def _repr_mimebundle_(self, **chosen: Any) -> tuple[dict[str, str], dict[str, Any]]:
        buffer = io.BytesIO()
        self.savefig(buffer, format="png", dpi=96)
        data = base64.b64encode(buffer.getvalue()).decode()
        return {"image/png": data}, {"image/png": {"alt": self.alt()}}

    def alt(self) -> str:
        """Return what is written on it, for those who can't see it: titles and axes."""
        panels = []
        for axes in self.axes:
            named = (("across", axes.get_xlabel()), ("upwards", axes.get_ylabel()))
            scales = [f"{way}: {label}" for way, label in named if label]
            said = ", ".join(filter(None, [axes.get_title(), *scales]))
            if said:
                panels.append(" ".join(said.split()))
        parts = [self.get_suptitle(), *dict.fromkeys(panels)]
        return f"Figure. {'; '.join(filter(None, parts)) or 'Images without titles'}."
