"""What each rank of `test_training_on_ranks.py` does: teaches a picking network."""

from pathlib import Path

from teaching import new_examples, old_examples, train

from mwr_hpc.training.communicator import HorovodCommunicator
from mwr_hpc.training.placement import Placement


def main(placement: Placement, folder: Path) -> None:
    communicator = HorovodCommunicator(placement)
    train(
        folder / f"rank{communicator.rank}",
        new_examples(),
        old_examples(),
        communicator=communicator,
        epochs=2,
        batch_size=8,
    )
