"""Intended use, what each model was trained on, how good it is, limits, licences, citations."""

import streamlit as st

from rcdnet.card import MINIMUM_AUC
from rcdnet.checkpoint import read_card
from rcdnet.errors import RcdnetError
from rcdnet.registry import MODELS

if "framed" not in st.session_state:  # a direct link runs this file without app.py; go through it
    st.session_state["wanted_page"] = "about"
    st.switch_page("app.py")

st.title("About RcdNet Dashboard")
st.markdown(
    """
#### Intended use
Research, teaching and demonstration: to see how RcdNet and five baseline networks read a breast ultrasound image that
shows **one lesion**, and where each of them looked. It answers one question, benign or malignant, for that lesion.

**Not for diagnosis.** It is no medical device, has been approved by nobody, and no decision about a patient may rest on it.

#### What it cannot do
- It always answers benign or malignant, also for a normal breast, an axilla, an implant or a picture of something else. Its call on those means nothing.
- It reads one still image: no patient history, no second view, no prior examination, no motion.
- Colour images (Doppler, elastography) are read without their colour, and the page says so. Seven such images, all benign, were among the training data, so colour may sway a call.
- The probability is calibrated on the validation images alone, where a third of the lesions are malignant. It is no risk for a patient.
- The heatmaps are Grad-CAM on a coarse grid (14 × 14 for RcdNet and ViT, 7 × 7 for the others). They show what raised a class, not the lesion's outline, and each is scaled to its own maximum.
- Thresholds were chosen on the scanners of the validation images; another scanner shifts them.

#### How the models differ from the paper
The paper starts from ImageNet weights and was evaluated on data that cannot be redistributed. The weights here were trained from random
numbers on two public data sets, so **their figures are not the paper's** and are stated below as measured.

#### How the figures below were measured
On images that no model was trained on, split by patient and near-duplicate. Each threshold was chosen on the BUS-BRA images to find 95 % of their cancers; on the
BUSI images it was only applied. Training settings and the last step of
preprocessing were settled while watching both sets, so the figures lean to the good side; the weights themselves were not picked by them.
"""
)
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
st.markdown(
    """
#### Privacy
Uploads stay in the memory of the machine that runs this app. They are never written to disk or logged, their metadata is dropped
once they are read, nothing is sent anywhere, and they are gone when you clear them or the session ends.

#### Data, licences and citations
- **RcdNet**: Liu B, Liu S, Cao Z, Zhang J, Pu X, Yu J. Front Bioeng Biotechnol 2025;13:1526260. doi:10.3389/fbioe.2025.1526260. CC BY.
- **BUS-BRA**: Gómez-Flores W, Gregorio-Calas MJ, Pereira WCA. Med Phys 2024;51:3110. doi:10.1002/mp.16812. CC BY 4.0.
- **BUSI**: Al-Dhabyani W, Gomaa M, Khaled H, Fahmy A. Data in Brief 2020;28:104863. doi:10.1016/j.dib.2019.104863. The licence of the original is unclear; no image of it is shipped.
- **Grad-CAM**: Selvaraju RR et al. ICCV 2017. doi:10.1109/ICCV.2017.74. Computed by pytorch-grad-cam (MIT). **CBAM**: Woo S et al. ECCV 2018. doi:10.1007/978-3-030-01234-2_1.
- The weights derive from both data sets: whoever passes them on cites both.
"""
)
