"""Which data sets can be read, and all images of several of them as one list of `Sample`."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from rcdnet.errors import DatasetError
from train.data import breast_lesions_usg, bus_bra, busi, custom_dataset
from train.data.sample import Sample, Say, ignore_message


@dataclass(frozen=True)
class Reader:
    """How one kind of data set is read.

    layout: what its folder holds, as the end of a sentence. recognises: whether a folder with entries of these
    names is one; None where it takes more than names.
    """

    read: Callable[[Path, Say], list[Sample]]
    layout: str
    recognises: Callable[[set[str]], bool] | None = None


READERS = {  # by the name before = in --data
    "busi": Reader(busi.read_busi, busi.LAYOUT),
    "busbra": Reader(bus_bra.read_busbra, bus_bra.LAYOUT, bus_bra.is_busbra),
    "breast": Reader(breast_lesions_usg.read_breast, breast_lesions_usg.LAYOUT, breast_lesions_usg.is_breast),
    "folder": Reader(custom_dataset.read_folder, custom_dataset.LAYOUT),
}


def read_sources(data: Iterable[tuple[str, str]], say: Say = ignore_message) -> list[Sample]:
    """All samples of (reader, place) pairs, in the order given; `say` hears what was passed over or taken for something else.

    Raises:
        DatasetError: an unknown reader, an empty or wrongly laid out place, two sources or two images of one name.
    """
    samples: list[Sample] = []
    names: set[str] = set()
    paths: dict[str, Path] = {}
    for reader, place in data:
        if reader not in READERS:
            raise DatasetError(f"There is no reader for {reader!r}. The sources are {', '.join(READERS)}.")
        found = READERS[reader].read(Path(place), say)
        if not found:
            raise DatasetError(f"{place} holds no labelled image. Expected {READERS[reader].layout}.")
        name = found[0].source
        if name in names:
            raise DatasetError(f"Two sources are named {name}. Rename the folder or file of one of them.")
        names.add(name)
        for sample in found:
            try:
                sample.id.encode()
            except UnicodeEncodeError:
                raise DatasetError(f"The name {ascii(sample.id)[1:-1]} is not valid text. Rename the file.") from None
            if sample.id in paths:
                raise DatasetError(
                    f"{sample.id} is there twice, as {paths[sample.id].name} and {sample.path.name}. Expected every image once: "
                    "rename one, or take its second row out of the table."
                )
            paths[sample.id] = sample.path
        samples += found
    if not samples:
        raise DatasetError(
            "No data was named. Give at least one, as --data busbra=DIR, busi=DIR, breast=DIR or folder=DIR."
        )
    return samples
