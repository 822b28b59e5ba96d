"""Ask a PyTorch model what its layers encode."""

__version__ = "0.1.0"
