"""What an image can be labelled: one of the two classes, or without a lesion."""

from rcdnet.models.registry import CLASSES

NO_LESION = -1  # the label of a scan of a breast in which there is none; it is no benign one
NORMAL = "normal"  # what data sets call it
LABELS = {name: label for label, name in enumerate(CLASSES)} | {NORMAL: NO_LESION}
