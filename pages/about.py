"""Intended use, what each model was trained on, how good it is, limits, licences, citations."""

import streamlit as st

from rcdnet.errors import RcdnetError
from rcdnet.models.card import MINIMUM_AUC
from rcdnet.models.checkpoint import read_card
from rcdnet.models.registry import MODELS
from rcdnet.present.statements import CITATIONS, DATA, INTENDED_USE, LIMITS, PAPER_DIFFERENCES, PRIVACY

if "framed" not in st.session_state:  # a direct link runs this file without app.py; go through it
    st.session_state["wanted_page"] = "about"
    st.switch_page("app.py")

st.title("About RcdNet Dashboard")
st.subheader("Intended use")
st.markdown("\n\n".join(INTENDED_USE))
st.subheader("What it cannot do")
st.markdown("\n".join(f"- {limit}" for limit in LIMITS))
st.subheader("How the models differ from the paper")
st.markdown(PAPER_DIFFERENCES)
st.markdown(
    """
#### How the figures below were measured
Each table says which images were measured and what was chosen on them. Images of one patient, and near-copies, were kept on one side of the split, as far as the data name patients; BUSI does not. Where weights were
trained on every image, their figures come from runs of the same recipe that left images out. The recipe of the weights that come with the app was chosen while looking at
BUS-BRA's folds 1 to 4 and parts of BUSI, so these figures are optimistic. The Results page has the curves, the references and the tests across sites.
"""
)
st.subheader("The data")
st.markdown("\n".join(f"- {sentence}" for sentence in DATA))
st.subheader("The models and their figures")
st.caption(f"A model whose validation AUC stays below {MINIMUM_AUC:.2f} gives no answer in this app.")
for spec in MODELS.values():
    with st.container(border=True):
        st.markdown(
            f"**{spec.title}**, {spec.parameters / 1e6:.1f} million parameters. {spec.source}. Code: {spec.licence}."
        )
        try:
            card = read_card(spec.name)
        except RcdnetError as reason:
            st.info(str(reason))
            continue
        st.markdown(f"Trained on {card.trained_on}; {card.date}.")
        st.table(
            [
                {
                    "measured on": f"{f.data}; {f.role}",
                    "images (malignant)": f"{f.images} ({f.malignant})",
                    "AUC [95 % interval]": f"{f.auc:.3f} [{f.auc_interval[0]:.3f}, {f.auc_interval[1]:.3f}]",
                    f"sensitivity at {card.threshold:.3f}": f"{f.sensitivity:.3f}",
                    f"specificity at {card.threshold:.3f}": f"{f.specificity:.3f}",
                }
                for f in card.validation
            ]
        )
        st.code(card.training_command, language=None, wrap_lines=True)
        with st.expander("Known failures"):
            st.markdown("\n".join(f"- {failure}" for failure in card.known_failures))
st.subheader("Privacy")
st.markdown(PRIVACY)
st.subheader("Data, licences and citations")
st.markdown("\n".join(f"- {citation}" for citation in CITATIONS))
