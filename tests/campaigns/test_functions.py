"""Random functions with and without a wrong gradient: no false pass, no false fail."""

import pytest
from gradcheck.test_seen import problems

pytestmark = pytest.mark.campaign


def test_functions(campaign):
    def case(rng, say):
        seed = rng.randrange(10**6)
        say(f"seed {seed}")
        _, bad = problems(seed)
        return "; ".join(bad)

    campaign.run(case, size=2000)
