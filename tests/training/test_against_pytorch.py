"""Twenty steps of a whole network, batch for batch, beside PyTorch."""

import numpy as np
import pytest
import torch_networks
from peers import need

from numpy_shufflenet.data import Dataset, Standardise
from numpy_shufflenet.models import shufflenet_v1, shufflenet_v2
from numpy_shufflenet.training import SGD, Trainer, cosine_schedule, linear_schedule

torch = need("torch")
EPOCHS, BATCH_SIZE, SEED = 5, 8, 3
SMALL = {"num_classes": 10, "in_channels": 1, "stem": "small", "seed": 0}
STANDARDISE = Standardise((0.3,), (0.25,))


def random_images(n=30, size=16):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, size=(n, 1, size, size - 2), dtype=np.uint8)
    return Dataset(images, rng.integers(0, 10, size=n), tuple("abcdefghij"))


def settle(model):
    """Start from kernels that keep the scale of activations, and from uneven scales and shifts.

    From the authors' initial weights, some channels hardly vary; normalising them magnifies
    rounding, a hundredfold a step at first, until two right trainings part. From these it stays at
    1e-11 over all twenty steps.
    """
    rng = np.random.default_rng(0)
    for name, p in model.parameters().items():
        if p.ndim == 4:
            p[...] = rng.normal(scale=np.sqrt(2 / np.prod(p.shape[1:])), size=p.shape)
        elif name != "fc.bias" and p.ndim == 1:
            p += rng.normal(scale=0.2, size=p.shape)


def train_in_pytorch(network, dataset, *, schedule, label_smoothing, weight_decay=0.0, **settings):
    """The loop as PyTorch's users write it; returns the loss of each step."""
    parameters = list(network.parameters())
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim == 1], "weight_decay": 0.0},
    ]
    peer = torch.optim.SGD(groups, lr=schedule(0), **settings)
    criterion = torch.nn.CrossEntropyLoss(label_smoothing=label_smoothing)
    rng = np.random.default_rng(SEED)
    losses = []
    network.train()
    for _ in range(EPOCHS):
        order = rng.permutation(len(dataset))
        for start in range(0, len(dataset), BATCH_SIZE):
            rows = order[start : start + BATCH_SIZE]
            for group in peer.param_groups:
                group["lr"] = schedule(len(losses))
            x = (torch.tensor(dataset.images[rows]).double() / 255 - 0.3) / 0.25
            loss = criterion(network(x), torch.tensor(dataset.labels[rows]))
            peer.zero_grad()
            loss.backward()
            peer.step()
            losses.append(loss.item())
    return losses


@pytest.mark.parametrize(
    ("network", "settings", "label_smoothing", "make_schedule"),
    [
        ("V1", {}, 0.0, linear_schedule),
        ("V2", {"momentum": 0.9}, 0.0, cosine_schedule),
        ("V2", {"momentum": 0.9, "weight_decay": 0.01}, 0.1, linear_schedule),
        ("V1", {"momentum": 0.9, "weight_decay": 0.01, "nesterov": True}, 0.1, cosine_schedule),
    ],
    ids=["V1, plain", "V2, momentum", "V2, decay and smoothing", "V1, Nesterov, decay, smoothing"],
)
def test_twenty_steps(network, settings, label_smoothing, make_schedule):
    build = {
        "V1": lambda: shufflenet_v1(groups=3, scale=0.25, **SMALL),
        "V2": lambda: shufflenet_v2(scale=0.5, layout="torchvision", **SMALL),
    }[network]
    model, dataset = build().astype("float64"), random_images()
    settle(model)
    twin = torch_networks.build(model.config)
    torch_networks.load(twin, model.state_dict())
    start = model.state_dict()
    schedule = make_schedule(0.005, 20, warmup=4)

    optimiser = SGD(model, learning_rate=1.0, **settings)
    trainer = Trainer(
        model,
        optimiser,
        dataset,
        epochs=EPOCHS,
        batch_size=BATCH_SIZE,  # 8, 8, 8 and 6
        schedule=schedule,
        standardise=STANDARDISE,
        label_smoothing=label_smoothing,
        seed=SEED,
    )
    history = trainer.run()
    losses = train_in_pytorch(
        twin, dataset, schedule=schedule, label_smoothing=label_smoothing, **settings
    )

    assert len(losses) == 20
    np.testing.assert_allclose(history.loss, losses, rtol=0, atol=1e-8)
    theirs = torch_networks.arrays(twin)
    for name, ours in model.state_dict().items():
        np.testing.assert_allclose(ours, theirs[name], rtol=0, atol=1e-8, err_msg=name)
    assert model.state_dict()["conv1.1.num_batches_tracked"] == 20
    for name in ("conv1.0.weight", "fc.weight", "fc.bias", "conv1.1.running_var"):
        assert np.abs(model.state_dict()[name] - start[name]).max() > 1e-4, f"{name} never moved"
