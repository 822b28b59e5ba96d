"""What torchprobe costs beside what a user would otherwise write; run `python -m benchmarks`."""
