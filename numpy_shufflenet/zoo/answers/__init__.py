"""Mistakes of students, which the exercises recognise by their numbers.

Each function is a right answer to an exercise, written as a student might write it. Its keyword
`wrong` is a set of mistakes that it makes; see `catalogue.variants`. Because several can be made
together, a wrong answer with two mistakes is recognised, too.
"""

from numpy_shufflenet.zoo.answers import (  # noqa: F401 - their decorators fill the catalogue
    groups,
    loss,
    networks,
    normalisation,
    normalisation_backward,
    pooling,
    simple,
    training,
    windows,
)
