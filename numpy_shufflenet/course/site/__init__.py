"""The static site of the course: executed lessons, API reference, glossary, and teacher's guide.

The site is one folder of HTML that loads nothing from the network. `numpy-shufflenet course build
--edition site` builds it with Sphinx, MyST-NB for the notebooks, and the theme Furo.
"""
