"""Area under a singular value spectrum, term by term."""


def auc(sigma, d):
    padded = [*sigma, *[0.0] * d][:d]
    shape = [value / padded[0] for value in padded]
    return sum((shape[i] + shape[i + 1]) / 2 for i in range(d - 1))


def auc_literal(sigma, d):
    """Eq. 5 of Nagamine & Mesgarani as printed, its overrunning index dropped."""
    padded = [*sigma, *[0.0] * d][:d]
    total = sum(padded[i] + padded[i + 1] for i in range(d - 1))
    return 1 / padded[0] * (padded[-1] - padded[0]) / (2 * d) * total
