"""A figure that a notebook shows with every backend of matplotlib."""

import base64
import io
from typing import Any

from matplotlib.figure import Figure


class NotebookFigure(Figure):
    """A Figure that a notebook shows as a picture; it needs neither a backend nor pyplot."""

    #: Alternative text for readers who cannot see the picture; by default, titles and labels.
    alt = ""

    # A notebook calls this method before the formatters that matplotlib registers.
    def _repr_mimebundle_(self, **chosen: Any) -> tuple[dict[str, str], dict[str, Any]]:
        buffer = io.BytesIO()
        self.savefig(buffer, format="png", dpi=96)
        png = base64.b64encode(buffer.getvalue()).decode("ascii")
        return {"image/png": png}, {"image/png": {"alt": self.alt or self._written()}}

    def _written(self) -> str:
        """Return the titles and the labels of the axes."""
        panels = []
        for axes in self.axes:
            named = (("across", axes.get_xlabel()), ("upwards", axes.get_ylabel()))
            scales = [f"{way}: {label}" for way, label in named if label]
            text = ", ".join(filter(None, [axes.get_title(), *scales]))
            if text:
                panels.append(" ".join(text.split()))
        parts = [self.get_suptitle(), *dict.fromkeys(panels)]
        return f"Figure. {'; '.join(filter(None, parts)) or 'Images without titles'}."
