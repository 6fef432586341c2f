"""Random functions and networks with and without a wrong gradient: no false pass, no false fail."""

import numpy as np
import pytest
from campaigns.test_random_networks import draw_config
from gradcheck.test_seen import problems

from numpy_shufflenet import models
from numpy_shufflenet.gradcheck import check_model

pytestmark = pytest.mark.campaign


def test_functions(campaign):
    def case(rng, say):
        seed = rng.randrange(10**6)
        say(f"seed {seed}")
        _, bad = problems(seed)
        return "; ".join(bad)

    campaign.run(case, size=2000)


def test_right_networks_are_not_blamed(campaign):
    """Also where batch normalisation has two numbers a channel, so that the loss is very curved."""

    def case(rng, say):
        config = draw_config(rng)
        name, seed, training = config.pop("name"), rng.randrange(10**6), rng.random() < 0.7
        batch, size = rng.randrange(2, 4), rng.choice((8, 9, 17))
        say(f"{name}, {config}, seed={seed}, training={training}, batch {batch}, size {size}")
        model = getattr(models, name)(**config, seed=seed)
        numbers = np.random.default_rng(seed)
        x = numbers.normal(size=(batch, config["in_channels"], size, size))
        labels = numbers.integers(0, config["num_classes"], batch)
        verdict = check_model(model, x, labels, entries=1, training=training, seed=seed)
        return "" if verdict.status in ("pass", "imprecise") else str(verdict)

    campaign.run(case, size=30)
