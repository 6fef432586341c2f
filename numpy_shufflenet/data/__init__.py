"""Labelled images: an embedded set, readers of other sets, augmentation, batches.

Images are uint8 arrays (n, c, h, w); 0 is black. Labels are int64 arrays (n,).
"""

from numpy_shufflenet.data.augment import augment, random_crop, random_cutout, random_flip
from numpy_shufflenet.data.cifar10 import CIFAR10_CLASSES, load_cifar10
from numpy_shufflenet.data.dataset import Dataset, batches, split
from numpy_shufflenet.data.embedded import load_embedded
from numpy_shufflenet.data.fashion_mnist import FASHION_MNIST_CLASSES, load_fashion_mnist
from numpy_shufflenet.data.image_folder import load_image, load_image_folder
from numpy_shufflenet.data.imagenet import imagenet_classes
from numpy_shufflenet.data.load import DATASETS, load_dataset
from numpy_shufflenet.data.preprocess import PREPROCESSINGS, Preprocessing, resize_bilinear
from numpy_shufflenet.data.standardise import Standardise, channel_statistics, to_float

__all__ = [
    "CIFAR10_CLASSES",
    "DATASETS",
    "FASHION_MNIST_CLASSES",
    "PREPROCESSINGS",
    "Dataset",
    "Preprocessing",
    "Standardise",
    "augment",
    "batches",
    "channel_statistics",
    "imagenet_classes",
    "load_cifar10",
    "load_dataset",
    "load_embedded",
    "load_fashion_mnist",
    "load_image",
    "load_image_folder",
    "random_crop",
    "random_cutout",
    "random_flip",
    "resize_bilinear",
    "split",
    "to_float",
]
