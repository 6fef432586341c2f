"""A network that can't learn a few images by heart has a wrong gradient somewhere."""

import numpy as np

from numpy_shufflenet.data import load_embedded
from numpy_shufflenet.models import shufflenet_v2
from numpy_shufflenet.training import SGD, Trainer, cosine_schedule, steps_per_epoch


def test_128_real_images_are_learned_by_heart():
    dataset = load_embedded()[0].subset(np.arange(128))
    model = shufflenet_v2(scale=0.5, num_classes=10, in_channels=1, stem="small", seed=0)
    epochs, batch_size = 20, 32
    steps = epochs * steps_per_epoch(len(dataset), batch_size)
    trainer = Trainer(
        model,
        SGD(model, learning_rate=1.0, momentum=0.9, nesterov=True),
        dataset,
        dataset,
        epochs=epochs,
        batch_size=batch_size,
        schedule=cosine_schedule(0.05, steps, steps // 10),
    )
    history = trainer.run()
    assert history.epochs[-1].test_accuracy == 1.0
