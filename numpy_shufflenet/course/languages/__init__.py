"""Editions of the course in other languages: one source of code, and translated text beside it.

Each lesson has one PO file for each language: `notebooks/zh_CN/08_channel_shuffle.po`. A message is
a paragraph, a heading, a list item or a table row of a Markdown cell; or a comment, a docstring or
a string in a code cell (`pieces`). Code is never translated. `numpy-shufflenet course translate`
makes and updates the files (`catalogues`), and checks them (`checks`).
"""
