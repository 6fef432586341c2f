"""The course's static site: executed lessons, API reference, glossary, and the teacher's guide.

It is one folder of HTML that asks nothing of the network. `numpy-shufflenet course build --edition
site` makes it, by Sphinx, with MyST-NB for the notebooks and Furo for the look.
"""
