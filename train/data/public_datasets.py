"""The public data sets: what they are called, who is to be cited, under which licence, and where they are published."""

from dataclasses import dataclass


@dataclass(frozen=True)
class PublicDataset:
    """A public data set as its authors released it.

    reference: authors, year and DOI, to stand behind the title. citation: in full.
    licence: of its images. shareable: whether that licence lets the images be passed on.
    url: of the archive. sha256: of the archive, None where its authors published none. folder: the one that the archive holds.
    table: address of a table that is published apart from the archive and belongs next to the folder.
    """

    title: str
    reference: str
    citation: str
    licence: str
    shareable: bool
    url: str
    sha256: str | None
    file_name: str
    folder: str
    table: str | None = None

    @property
    def licence_of_weights(self) -> str:
        """What holds for weights that its images taught, as a sentence."""
        return f"{self.title}: {self.licence}; whoever passes on weights derived from it cites it."


_TCIA = "https://www.cancerimagingarchive.net/wp-content/uploads"
PUBLIC_DATASETS = {
    "busbra": PublicDataset(
        title="BUS-BRA",
        reference="Gómez-Flores et al. 2024, doi:10.1002/mp.16812",
        citation="Gómez-Flores W, Gregorio-Calas MJ, Pereira WCA. Med Phys 2024;51:3110. doi:10.1002/mp.16812",
        licence="CC BY 4.0",
        shareable=True,
        url="https://zenodo.org/api/records/8231412/files/BUSBRA.zip/content",
        sha256="ba3e6ed19cc37c682d8d39e25435bbf8a555a12cb7e641b5f2117685c95580ff",
        file_name="BUSBRA.zip",
        folder="BUSBRA",
    ),
    "busi": PublicDataset(
        title="BUSI",
        reference="Al-Dhabyani et al. 2020, doi:10.1016/j.dib.2019.104863",
        citation="Al-Dhabyani W, Gomaa M, Khaled H, Fahmy A. Data in Brief 2020;28:104863. doi:10.1016/j.dib.2019.104863",
        licence="no licence stated by its authors",
        shareable=False,
        url="https://scholar.cu.edu.eg/Dataset_BUSI.zip",
        sha256=None,
        file_name="Dataset_BUSI.zip",
        folder="Dataset_BUSI_with_GT",
    ),
    "breast": PublicDataset(
        title="BrEaST",
        reference="Pawłowska et al. 2024, doi:10.1038/s41597-024-02984-z",
        citation="Pawłowska A, Ćwierz-Pieńkowska A, Domalik A, et al. Sci Data 2024;11:148. doi:10.1038/s41597-024-02984-z",
        licence="CC BY 4.0",
        shareable=True,
        url=f"{_TCIA}/BrEaST-Lesions_USG-images_and_masks-Dec-15-2023.zip",
        sha256=None,
        file_name="BrEaST-Lesions_USG-images_and_masks-Dec-15-2023.zip",
        folder="BrEaST-Lesions_USG-images_and_masks",
        table=f"{_TCIA}/BrEaST-Lesions-USG-clinical-data-Dec-15-2023.xlsx",
    ),
}
TITLES = {name: dataset.title for name, dataset in PUBLIC_DATASETS.items()}
