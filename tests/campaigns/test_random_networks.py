"""Random networks against PyTorch, forward and backward, in float64."""

import random

import pytest
from models.test_against_torch import test_network as compare
from torch_networks import torch  # noqa: F401 - skips the file without PyTorch

pytestmark = pytest.mark.campaign


def draw_config(rng: random.Random):
    """Draw the settings of a network that PyTorch's twin can express."""
    config = {"num_classes": rng.randrange(5, 8), "in_channels": rng.choice((1, 2, 3, 4))}
    config["stem"] = rng.choice(("imagenet", "small"))
    config["classifier_bias"] = rng.random() < 0.8
    config["se"] = rng.random() < 0.3
    if rng.random() < 0.5:
        config |= {"name": "shufflenet_v1", "groups": rng.choice((1, 2, 3, 4, 8))}
        config |= {"scale": rng.choice((0.25, 0.5, 1.0)), "shuffle": rng.random() < 0.8}
    else:
        config |= {"name": "shufflenet_v2", "scale": rng.choice((0.5, 0.5, 1.0))}
        config |= {"layout": rng.choice(("paper", "torchvision"))}
        config |= {"residual": rng.random() < 0.3, "extra_depthwise": rng.random() < 0.3}
    return config


def test_random_networks(campaign):
    def case(rng: random.Random, say):
        config = draw_config(rng)
        small = config["stem"] == "small"
        n, low, high = rng.randrange(2, 5), 9 if small else 33, 24 if small else 70
        shape = n, rng.randrange(low, high), rng.randrange(low, high)
        training = rng.random() < 0.6
        say(f"{config}, images {shape}, {'training' if training else 'evaluation'}")
        compare(config, shape, training)

    campaign.run(case, size=500)
