"""What the paper reports (Liu et al. 2025, doi:10.3389/fbioe.2025.1526260), to stand beside what was measured here, never mixed with it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Reported:
    """A row of the paper's tables; precision, recall and F1 are means of both classes."""

    model: str
    precision: float
    recall: float
    f1: float
    accuracy: float


# Table 1, internal validation set: three tenths of BUSI.
INTERNAL = (
    Reported("resnet50", 0.9317, 0.9314, 0.9311, 0.9311),
    Reported("mobilenetv2", 0.9372, 0.9316, 0.9306, 0.9308),
    Reported("regnet", 0.9393, 0.9393, 0.9391, 0.9392),
    Reported("vit", 0.8203, 0.8183, 0.8176, 0.8178),
    Reported("resnext", 0.9339, 0.9393, 0.9391, 0.9337),
    Reported("rcdnet", 0.9515, 0.9508, 0.9504, 0.9504),
)
# Table 2, external test set, and the AUC in section 3.2.
EXTERNAL = (
    Reported("resnet50", 0.8901, 0.9313, 0.9020, 0.9088),
    Reported("mobilenetv2", 0.8960, 0.9358, 0.9084, 0.9150),
    Reported("regnet", 0.8759, 0.9198, 0.8864, 0.8934),
    Reported("vit", 0.8619, 0.8957, 0.8728, 0.8825),
    Reported("resnext", 0.9101, 0.9461, 0.9227, 0.9289),
    Reported("rcdnet", 0.9168, 0.9495, 0.9290, 0.9351),
)
EXTERNAL_AUC = {"rcdnet": 0.9866}
# `NOT_REPRODUCIBLE` can be checked by anyone: no k of 163 rounds to 0.9351.
NOT_REPRODUCIBLE = (
    "The paper's external row cannot be reproduced as stated. It names 163 images, and no number of right answers among 163 "
    "gives an accuracy of 0.9351 (152 give 0.9325, 153 give 0.9387). Its four figures fit exactly one count that has BUSI's "
    "size: 647 images, 208 of 210 cancers found and 397 of 437 benign lesions cleared. Its data set B is given out under a "
    "signed agreement and is not used here."
)
