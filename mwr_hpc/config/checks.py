"""What several settings must hold: sizes that suit the network, one place to work at, a share of the work."""

from collections.abc import Mapping


def check_one_place(asked: Mapping[str, object]) -> None:
    """Raise ValueError when more than one of the options that say where to work is set."""
    found = [name for name, value in asked.items() if value]
    if len(found) > 1:
        raise ValueError(f"found {' and '.join(found)}, which exclude one another; give one of them")


def check_share(share: str | None) -> str | None:
    """Return a share of the work as it is; raise ValueError unless it is I/N with I from 0 below N, or None."""
    if share is not None:
        index, slash, number = share.partition("/")
        if not (slash and index.isdecimal() and number.isdecimal() and int(index) < int(number)):
            raise ValueError("expected I/N, part I (from 0) of N; for example 0/4")
    return share


def check_multiple(size: int, multiple: int) -> None:
    """Raise ValueError, naming the nearest sizes that fit, unless `size` is a multiple of `multiple`."""
    if size % multiple:
        below = size // multiple * multiple
        fitting = f"{below} or {below + multiple}" if below else f"{multiple}"
        raise ValueError(f"not a multiple of {multiple} (2^unet_depth, what the network needs); use {fitting}")


def check_crop(crop_size: int, cube_size: int, multiple: int) -> None:
    """Raise ValueError, naming sizes that fit, unless a crop suits the network and holds the cube."""
    check_multiple(crop_size, multiple)
    if crop_size < cube_size:
        raise ValueError(
            f"smaller than cube_size {cube_size}, which is cut from it; "
            f"use {default_crop_size(cube_size, multiple)} (1.5 x cube_size) or at least {cube_size}"
        )


def default_crop_size(cube_size: int, multiple: int) -> int:
    """1.5 times the cube, rounded (halves up) to a multiple."""
    return (3 * cube_size + multiple) // (2 * multiple) * multiple


def check_continuation(continue_iter: int | None, continue_training: bool | None, iterations: int) -> None:
    """Raise ValueError when going back to an iteration contradicts the other options, or leaves nothing to do."""
    if continue_iter is None:
        return
    if continue_training is False:
        raise ValueError(
            f"--continue_iter {continue_iter} contradicts --continue_training False; leave out one of them"
        )
    if continue_iter >= iterations:
        raise ValueError(
            f"--continue_iter {continue_iter} leaves nothing to do of --iterations {iterations}; "
            f"--iterations counts from the start of the run, so ask for more than {continue_iter}"
        )


def check_whole_batches(ranks: int) -> None:
    """Raise ValueError unless one rank sees all of a batch, as batch normalisation needs."""
    if ranks > 1:
        raise ValueError(
            f"--batch_normalization with --ranks {ranks}: each rank would normalise by its own part of a "
            "batch, so the model would depend on their number; use --ranks 1, or leave batch normalisation out"
        )
