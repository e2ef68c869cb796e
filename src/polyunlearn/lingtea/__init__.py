"""LINGTEA's protocol (Choi et al., arXiv 2406.12354): real facts and texts unlearned in many languages, its way beside ours."""
