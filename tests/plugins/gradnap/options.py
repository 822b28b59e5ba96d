"""What hypothesis draws: every combination of GradNAP's options."""

from hypothesis import strategies as st

any_options = st.fixed_dictionaries(
    {
        "alignment": st.sampled_from(["product", "absolute", "gradient"]),
        "across": st.sampled_from(["max", "mean"]),
        "border": st.sampled_from(["zero", "mask"]),
        "baseline": st.sampled_from(["sample", "group"]),
        "mask": st.sampled_from(["absolute", "signed", "mean_absolute"]),
        "scale": st.sampled_from(["group", "neuron", "layer"]),
    }
)
