"""Ask a PyTorch model what its layers encode."""
