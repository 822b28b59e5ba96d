"""What each layer's positions see of the model's input, measured on any model."""

from torchprobe.receptive_fields.book import Book, Stated
from torchprobe.receptive_fields.measure import Measured, measure

__all__ = ["Book", "Measured", "Stated", "measure"]
