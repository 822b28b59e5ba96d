"""Pure numerics: functions from arrays to numbers, free of hooks, layers and analyzers.

Arrays go in as anything NumPy understands and come out as float64. Each function checks its
input once and raises an error from :mod:`torchprobe.errors` that says what would work. Libraries
that are slow to import (scipy, scikit-learn) are imported when first needed.
"""

from torchprobe.numerics.agreements import Agreement, agreement
from torchprobe.numerics.alignment import linear_cka
from torchprobe.numerics.clustering import (
    Clustering,
    cluster_distances,
    complete_linkage,
    percentile_threshold,
    upgma,
)
from torchprobe.numerics.distance_dependence import (
    DistanceCovariance,
    distance_correlation,
    distance_covariance,
)
from torchprobe.numerics.distances import BlockDistances
from torchprobe.numerics.information import mutual_information
from torchprobe.numerics.lda import LdaSolution, class_scatter, solve_lda
from torchprobe.numerics.mds import (
    Scaling,
    classical_mds,
    classical_mds_of_points,
    relative_expansion,
    smacof_mds,
)
from torchprobe.numerics.neighbourhoods import (
    continuity,
    neighbour_accuracy,
    neighbourhood_hit,
    trustworthiness,
)
from torchprobe.numerics.procrustes import (
    linear_residual,
    linear_residual_from_moments,
    pca_bound,
    pca_bound_from_scatter,
    procrustes_distance,
    procrustes_from_moments,
)
from torchprobe.numerics.shrinkage import (
    NormMoments,
    ledoit_wolf_intensity,
    norm_moments,
    recentred,
)
from torchprobe.numerics.silhouettes import Silhouettes, silhouette, silhouette_profile
from torchprobe.numerics.spectra import (
    MeanSpectrum,
    auc,
    evr_auc,
    mean_spectrum,
    normalised,
    singular_values,
    singular_values_from_gram,
)

__all__ = [
    "Agreement",
    "BlockDistances",
    "Clustering",
    "DistanceCovariance",
    "LdaSolution",
    "MeanSpectrum",
    "NormMoments",
    "Scaling",
    "Silhouettes",
    "agreement",
    "auc",
    "class_scatter",
    "classical_mds",
    "classical_mds_of_points",
    "cluster_distances",
    "complete_linkage",
    "continuity",
    "distance_correlation",
    "distance_covariance",
    "evr_auc",
    "ledoit_wolf_intensity",
    "linear_cka",
    "linear_residual",
    "linear_residual_from_moments",
    "mean_spectrum",
    "mutual_information",
    "neighbour_accuracy",
    "neighbourhood_hit",
    "norm_moments",
    "normalised",
    "pca_bound",
    "pca_bound_from_scatter",
    "percentile_threshold",
    "procrustes_distance",
    "procrustes_from_moments",
    "recentred",
    "relative_expansion",
    "silhouette",
    "silhouette_profile",
    "singular_values",
    "singular_values_from_gram",
    "smacof_mds",
    "solve_lda",
    "trustworthiness",
    "upgma",
]
