"""The data sets from their official places; needs the network, and pooch."""

from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

from rcdnet.errors import DatasetError


@dataclass(frozen=True)
class Release:
    """Where a data set is published. sha256: of the archive, None where its authors published none.

    folder: the one that the archive holds. table: address of a table that is published beside the archive and belongs beside the folder.
    """

    title: str
    url: str
    sha256: str | None
    file_name: str
    folder: str
    licence: str
    table: str | None = None


_TCIA = "https://www.cancerimagingarchive.net/wp-content/uploads"
RELEASES = {
    "busbra": Release(
        "BUS-BRA (Gómez-Flores et al. 2024, doi:10.1002/mp.16812)",
        "https://zenodo.org/api/records/8231412/files/BUSBRA.zip/content",
        "ba3e6ed19cc37c682d8d39e25435bbf8a555a12cb7e641b5f2117685c95580ff",
        "BUSBRA.zip",
        "BUSBRA",
        "CC BY 4.0; whoever uses it cites it",
    ),
    "busi": Release(
        "BUSI (Al-Dhabyani et al. 2020, doi:10.1016/j.dib.2019.104863)",
        "https://scholar.cu.edu.eg/Dataset_BUSI.zip",
        None,
        "Dataset_BUSI.zip",
        "Dataset_BUSI_with_GT",
        "no licence file in the original; cite it, and do not pass its images on",
    ),
    "breast": Release(
        "BrEaST-Lesions-USG (Pawłowska et al. 2024, doi:10.1038/s41597-024-02984-z)",
        f"{_TCIA}/BrEaST-Lesions_USG-images_and_masks-Dec-15-2023.zip",
        None,
        "BrEaST-Lesions_USG-images_and_masks-Dec-15-2023.zip",
        "BrEaST-Lesions_USG-images_and_masks",
        "CC BY 4.0; whoever uses it cites it",
        f"{_TCIA}/BrEaST-Lesions-USG-clinical-data-Dec-15-2023.xlsx",
    ),
}


def fetch(name: str, folder: Path, *, url: str | None = None) -> Path:
    """Download, check and unpack a data set below `folder`; the place to give as --data. What is there is not fetched again.

    Args:
        url: another address of the same archive; of a table beside it, the address is the published one.

    Raises:
        DatasetError: no such data set, no network, or an archive that is not the published one.
    """
    import pooch
    from requests import RequestException

    if name not in RELEASES:
        raise DatasetError(f"There is no data set {name!r} to fetch. The data sets are {', '.join(RELEASES)}.")
    release = RELEASES[name]
    address = url or release.url
    download = pooch.HTTPDownloader(progressbar=True, timeout=30)
    try:
        files = pooch.retrieve(
            address,
            known_hash=f"sha256:{release.sha256}" if release.sha256 else None,
            fname=release.file_name,
            path=folder,
            processor=pooch.Unzip(extract_dir=name),
            downloader=download,
        )
    except BadZipFile as error:
        (folder / release.file_name).unlink(missing_ok=True)
        raise DatasetError(f"The file at {address} is not a zip archive. Give another address with --url.") from error
    except RequestException as error:
        raise DatasetError(
            f"{release.title} could not be fetched from {address} ({type(error).__name__}). Check the network, or download it "
            f"in a browser, unpack it, and give its folder as --data {name}=DIR."
        ) from error
    except ValueError as error:
        raise DatasetError(
            f"The file at {address} is not the published archive of {release.title}: {error} Nothing was unpacked."
        ) from error
    found = next((Path(f) for f in files if release.folder in Path(f).parts), None)
    if found is None:
        raise DatasetError(
            f"The archive of {release.title} holds no folder {release.folder}. Give its folder as --data yourself."
        )
    place = Path(*found.parts[: found.parts.index(release.folder) + 1])
    if not release.table:
        return place
    table = release.table.rpartition("/")[2]
    try:
        pooch.retrieve(release.table, known_hash=None, fname=table, path=place.parent, downloader=download)
    except RequestException as error:
        raise DatasetError(
            f"The table of {release.title} could not be fetched from {release.table} ({type(error).__name__}). Download it in a browser "
            f"and put it into {place.parent}, which is the folder to give as --data {name}=DIR."
        ) from error
    return place.parent
