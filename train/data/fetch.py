"""The data sets from their official places; needs the network, and pooch."""

from pathlib import Path
from zipfile import BadZipFile

from rcdnet.errors import DatasetError
from train.data.public_datasets import PUBLIC_DATASETS


def fetch(name: str, folder: Path, *, url: str | None = None) -> Path:
    """Download, check and unpack a data set below `folder`; the place to give as --data. What is there is not fetched again.

    Args:
        url: another address of the same archive; of a table beside it, the address is the published one.

    Raises:
        DatasetError: no such data set, no network, or an archive that is not the published one.
    """
    import pooch
    from requests import RequestException

    if name not in PUBLIC_DATASETS:
        raise DatasetError(f"There is no data set {name!r} to fetch. The data sets are {', '.join(PUBLIC_DATASETS)}.")
    dataset = PUBLIC_DATASETS[name]
    address = url or dataset.url
    download = pooch.HTTPDownloader(progressbar=True, timeout=30)
    try:
        files = pooch.retrieve(
            address,
            known_hash=f"sha256:{dataset.sha256}" if dataset.sha256 else None,
            fname=dataset.file_name,
            path=folder,
            processor=pooch.Unzip(extract_dir=name),
            downloader=download,
        )
    except BadZipFile as error:
        (folder / dataset.file_name).unlink(missing_ok=True)
        raise DatasetError(f"The file at {address} is not a zip archive. Give another address with --url.") from error
    except RequestException as error:
        raise DatasetError(
            f"{dataset.title} could not be fetched from {address} ({type(error).__name__}). Check the network, or download it "
            f"in a browser, unpack it, and give its folder as --data {name}=DIR."
        ) from error
    except ValueError as error:
        raise DatasetError(
            f"The file at {address} is not the published archive of {dataset.title}: {error} Nothing was unpacked."
        ) from error
    found = next((Path(f) for f in files if dataset.folder in Path(f).parts), None)
    if found is None:
        raise DatasetError(
            f"The archive of {dataset.title} holds no folder {dataset.folder}. Give its folder as --data yourself."
        )
    place = Path(*found.parts[: found.parts.index(dataset.folder) + 1])
    if not dataset.table:
        return place
    table = dataset.table.rpartition("/")[2]
    try:
        pooch.retrieve(dataset.table, known_hash=None, fname=table, path=place.parent, downloader=download)
    except RequestException as error:
        raise DatasetError(
            f"The table of {dataset.title} could not be fetched from {dataset.table} ({type(error).__name__}). Download it in a browser "
            f"and put it into {place.parent}, which is the folder to give as --data {name}=DIR."
        ) from error
    return place.parent
