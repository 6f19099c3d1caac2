"""What the software says of itself, in the same words on the About page, in the report and in its figures."""

RESEARCH_USE = "Research use only, not for diagnosis"
ON_PHANTOMS = "Trained on drawn phantoms, not on scans"
INTENDED_USE = (
    "Research, teaching and demonstration: to see how RcdNet and five baseline networks read a breast ultrasound image that shows "
    "one lesion, and where each of them looked. It answers one question, how suspicious that lesion is of cancer.",
    "It is not for diagnosis. It is not a medical device, and nobody has approved it. No decision about a patient may be based on it.",
)
LIMITS = (
    "Each model that came with the app is first asked whether it sees a lesion, and where it sees none it makes no call. That does not "
    "rule out cancer. At hospitals whose normal breasts did not teach it, most normal breasts are still answered as if they held a "
    "lesion; Results says how many. So are an axilla or an implant. Such an answer means nothing.",
    "A check stops pictures that are not one breast B-mode scan before any model reads them. Some pass, and a few real scans are stopped; "
    "Results says how many.",
    "It reads one still image: no patient history, no second view, no prior examination, no motion.",
    "Colour images (Doppler, elastography) are read without their colour, and the page says so. No model was trained on such images.",
    "The probability is calibrated on the validation images alone, where a third of the lesions are malignant. It is not an "
    "individual patient's risk.",
    "The heatmaps lie on a coarse grid (14 × 14 for RcdNet and ViT, 7 × 7 for the others). They show what raised the score of a "
    "class, not the lesion's outline. On Analyse they are Grad-CAM, each scaled to its own maximum. Compare has other methods and "
    "states its scale.",
    "Thresholds were chosen on the scanners of the validation images. Another scanner shifts them.",
)
DATA = (
    "BUS-BRA: pathology proven by biopsy, one or more views of a patient. BUSI: the label of the data set's authors.",
    "The weights that come with this app were trained and measured on a part of both: BUS-BRA's official folds 1 to 4 (1492 of "
    "1875 images), and 526 of BUSI's 647 images with a lesion, reduced to at most 448 pixels a side, of which 8 are left out by "
    "rule and 16 for a near-copy under the other label. BUS-BRA's fold 5 and the rest of BUSI were kept back for a test by others.",
)
PAPER_DIFFERENCES = (
    "The paper's RcdNet starts from pre-trained weights, taken here to be ImageNet's, learns from BUSI, and was tested on a set that is "
    "given out under a signed agreement. The weights that come with this app were trained on BUS-BRA and a part of BUSI, RcdNet's from "
    "ImageNet weights and the others' from random numbers. Lesion masks taught them too, which the paper does not use: each model's call "
    "also weighs the outline that it draws, and that of RcdNet, MobileNetV2 and ViT the outline's shape. So their figures are not the "
    "paper's and are stated as measured."
)
PRIVACY = (
    "Uploads stay in the memory of the machine that runs this app. They are never written to disk or logged, and nothing is "
    "sent anywhere. Their metadata is dropped once they are read. They are gone when you clear them or the session ends."
)
CITATIONS = (
    "RcdNet: Liu B, Liu S, Cao Z, Zhang J, Pu X, Yu J. Front Bioeng Biotechnol 2025;13:1526260. doi:10.3389/fbioe.2025.1526260. "
    "CC BY.",
    "BUS-BRA: Gómez-Flores W, Gregorio-Calas MJ, Pereira WCA. Med Phys 2024;51:3110. doi:10.1002/mp.16812. CC BY 4.0.",
    "BUSI: Al-Dhabyani W, Gomaa M, Khaled H, Fahmy A. Data in Brief 2020;28:104863. doi:10.1016/j.dib.2019.104863. The licence of "
    "the original is unclear; no image of it is shipped.",
    "Grad-CAM: Selvaraju RR et al. ICCV 2017. doi:10.1109/ICCV.2017.74. Computed by pytorch-grad-cam (MIT).",
    "CBAM: Woo S et al. ECCV 2018. doi:10.1007/978-3-030-01234-2_1.",
    "EfficientNet-Lite0, whose ImageNet weights RcdNet started from: Tan M, Le Q. ICML 2019. arXiv:1905.11946. Apache-2.0.",
    "The weights derive from both data sets. Anyone who passes them on must cite both.",
)
