"""Docstrings on pages: equations stay as they are, names are linked, sections are told apart."""

import inspect

import docutils.core
import pytest
from docutils import nodes
from peers import need

from numpy_shufflenet.course.site.docstrings import to_rst
from numpy_shufflenet.operations import OPERATIONS

need("sphinx")

DOCSTRING = """
First * sentence, of `known` and `unknown`.

    y[i] = *x[i] | w_

    z = y

goes on, with c_ and |d|:

- one
- two, which
  is long

Parameters
----------
x : array, shape (n, c), float32
*arrays : `known`
    Any number
    of them.

Raises
------
ValueError
    If x is `None`.

Source: A paper, 2018,
section 3.
"""


def parsed(text):
    rst = to_rst(inspect.cleandoc(text).splitlines(), {"known": "*linked*"}.get)
    settings = {"report_level": 1, "halt_level": 1}  # any complaint is an error
    source = "\n".join(rst).replace(".. code-block:: text", "::")
    return docutils.core.publish_doctree(source, settings_overrides=settings)


def test_every_part_is_shown_as_meant():
    tree = parsed(DOCSTRING)
    (block,) = tree.findall(nodes.literal_block)
    assert block.astext() == "y[i] = *x[i] | w_\n\nz = y"
    assert [node.astext() for node in tree.findall(nodes.emphasis)] == ["linked", "linked"]
    assert [node.astext() for node in tree.findall(nodes.literal)] == ["unknown", "None"]
    names = [node.astext() for node in tree.findall(nodes.field_name)]
    assert names == ["Parameters", "Raises", "Source"]
    parameters, raises, source = tree.findall(nodes.field_body)
    assert [node.astext() for node in parameters.findall(nodes.strong)] == ["x", "*arrays"]
    assert "Any number\nof them." in parameters.astext()
    assert raises.astext() == "ValueError\n\nIf x is None."
    assert source.astext() == "A paper, 2018,\nsection 3."
    assert "goes on, with c_ and |d|:" in tree.astext()
    assert len(tree.next_node(nodes.bullet_list).children) == 2


@pytest.mark.parametrize("name", OPERATIONS)
def test_no_operation_s_docstring_is_misread(name):
    forward = OPERATIONS[name].forward()
    for item in (forward, inspect.getmodule(forward)):
        tree = parsed(item.__doc__)
        fields = {node.astext() for node in tree.findall(nodes.field_name)}
        assert fields <= {"Parameters", "Returns", "Raises", "Source"}
