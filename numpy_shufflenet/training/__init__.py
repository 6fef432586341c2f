"""Training: the optimiser, its schedule, the loop, evaluation and checkpoints."""

from numpy_shufflenet.training.average import WeightAverage
from numpy_shufflenet.training.checkpoint import (
    Checkpoint,
    load_checkpoint,
    load_weights,
    save_checkpoint,
    save_weights,
)
from numpy_shufflenet.training.distributed import Distributed
from numpy_shufflenet.training.evaluation import Evaluation, confusion_matrix, evaluate
from numpy_shufflenet.training.history import EpochRecord, History, StepReport
from numpy_shufflenet.training.loop import (
    Observer,
    Trainer,
    TrainingDiverged,
    steps_per_epoch,
)
from numpy_shufflenet.training.optimiser import SGD
from numpy_shufflenet.training.progress import ProgressBar
from numpy_shufflenet.training.schedule import Schedule, cosine_schedule, linear_schedule
from numpy_shufflenet.training.trained import SHIPPED, Trained, load_trained, save_trained

__all__ = [
    "SGD",
    "SHIPPED",
    "Checkpoint",
    "Distributed",
    "EpochRecord",
    "Evaluation",
    "History",
    "Observer",
    "ProgressBar",
    "Schedule",
    "StepReport",
    "Trained",
    "Trainer",
    "TrainingDiverged",
    "WeightAverage",
    "confusion_matrix",
    "cosine_schedule",
    "evaluate",
    "linear_schedule",
    "load_checkpoint",
    "load_trained",
    "load_weights",
    "save_checkpoint",
    "save_trained",
    "save_weights",
    "steps_per_epoch",
]
