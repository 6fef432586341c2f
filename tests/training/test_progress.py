import io
import sys

import pytest
import rich.console

from numpy_shufflenet.training import SGD, EpochRecord, ProgressBar, Trainer
from numpy_shufflenet.training.progress import describe_epoch


def run(model, train_set, *, terminal):
    output = io.StringIO()
    console = rich.console.Console(
        file=output, force_terminal=terminal, width=120, color_system=None
    )
    trainer = Trainer(
        model, SGD(model, learning_rate=0.1), train_set, train_set, epochs=2, batch_size=8
    )
    return trainer.run([ProgressBar(console)]), output.getvalue()


def test_a_terminal_shows_what_happens(small_network, small_set):
    history, shown = run(small_network(), small_set(20), terminal=True)
    for record in history.epochs:
        assert describe_epoch(record, 2) in shown
    for part in ("epoch 2/2", "100 %", "loss", "accuracy", "images/s", "left"):
        assert part in shown
    last = history.epochs[-1]
    assert f"test loss {last.test_loss:.3f}" in shown


def test_anything_else_shows_nothing(small_network, small_set):
    _, shown = run(small_network(), small_set(20), terminal=False)
    assert shown == ""


def test_one_line_says_how_an_epoch_went():
    record = EpochRecord(3, 30, 1.23456, 0.5, 0.98765, 0.875, 12.34)
    assert describe_epoch(record, 10) == (
        "epoch  3/10: loss 1.235, accuracy 50.0%; test loss 0.988, accuracy 87.5%; 12.3 s, "
        "about 1 min left"
    )
    alone = EpochRecord(3, 30, 1.23456, 0.5, None, None, 12.34)
    assert describe_epoch(alone, 5) == "epoch 3/5: loss 1.235, accuracy 50.0%; 12.3 s"


def test_without_rich_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "rich.console", None)
    with pytest.raises(ImportError, match=r'pip install "numpy_shufflenet\[demo\]"'):
        ProgressBar()
