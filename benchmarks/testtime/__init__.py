"""The study of repeated sampling: real data sub-sampled, simulations with known truth, and the page."""
