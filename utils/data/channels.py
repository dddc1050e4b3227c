"""The number of channels with which a folder's images are read for a network."""

from collections.abc import Sequence
from pathlib import Path

from model import COLOURS, ImageSize, expect, is_imported
from model.errors import UnreadableNetwork
from utils.data.folder import is_grey
from utils.data.listing import list_parts
from utils.errors import UserError
from utils.records.methods import images_expected, refuse_impossible
from utils.settings import Size, dataset_facts, dataset_name


def channels_for(
    model: str,
    dataset: str,
    image_size: ImageSize | None = None,
    channels: int | None = None,
) -> int | None:
    """Return ``channels`` if they are given; None stands for 3.

    Returns 1 for a folder of grey images and a network that takes 1 and not 3. Raises UserError for
    such a network and images with colours, and UnreadableNetwork for one that takes neither.
    """
    if channels is not None or not is_imported(model):
        return channels
    num_classes = dataset_facts(dataset_name(dataset)).num_classes
    try:
        expect(model, num_classes, images_expected(dataset, image_size, COLOURS))
        return None
    except UnreadableNetwork as error:
        of_colours = error
    try:
        expect(model, num_classes, images_expected(dataset, image_size, 1))
    except UnreadableNetwork:
        raise of_colours from None

    # it takes one channel only
    if not Path(dataset).is_dir():
        raise UserError(
            f"{model} takes images of one channel, not of 3; give it --channels 1, and a "
            "--dataset that is a folder of images"
        )
    coloured = first_with_colours(Path(dataset))
    if coloured:
        raise UserError(
            f"{model} takes images of one channel, and {coloured} has colours; --channels 1 reads "
            "all images in grey"
        )
    return 1


def checked_channels(
    model: str,
    dataset: str,
    *sizes: Size,
    image_size: ImageSize | None = None,
    channels: int | None = None,
    keep: Sequence[str] = (),
) -> int | None:
    """Return the channels with which a run reads its images, as ``channels_for`` does, once its
    networks are known to be possible: raises UserError as ``refuse_impossible`` does."""
    channels = channels_for(model, dataset, image_size, channels)
    refuse_impossible(model, dataset, *sizes, image_size=image_size, channels=channels, keep=keep)
    return channels


def first_with_colours(root: Path) -> str | None:
    """Return the first image of a folder that is not grey by its mode; None if all are.

    Only the beginning of each file is read.
    """
    return next(
        (path for part in list_parts(root) for path in part.paths if not is_grey(path)), None
    )
