"""The real pre-training ladder behind the packaged data set: training, evaluation, sampling, packing.

Run as ``python -m ladder`` from the repository's root; see README.md.  PyTorch is needed here and nowhere else in
the project.
"""
