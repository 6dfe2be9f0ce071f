"""``mwr-hpc boxnet train-generic``, and the simulated examples behind a generic model, which dilute a user's own."""

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from mwr_hpc.boxnet.examples import Entry, ExampleStore, write_index
from mwr_hpc.boxnet.generic import HELD_OUT, NUMBER, SPECIFICATION, example_name
from mwr_hpc.cluster.local_pool import local_pool
from mwr_hpc.cluster.pool import available_cores
from mwr_hpc.config.boxnet_generic import TrainGenericSettings
from mwr_hpc.config.boxnet_training import NONE, SCRATCH, RetrainSettings
from mwr_hpc.errors import InputError, StageError
from mwr_hpc.events import Emit, Notice, ShouldStop
from mwr_hpc.io.atomic import disk_full_reported, require_writable
from mwr_hpc.numerics.micrograph import WORKING_PIXEL_SIZE
from mwr_hpc.pipeline.backend import ON_THIS_HOST, Backend
from mwr_hpc.pipeline.boxnet_training import retrain
from mwr_hpc.pipeline.lock import critical_section
from mwr_hpc.pipeline.receipts import unit_key
from mwr_hpc.pipeline.result_folder import working_in
from mwr_hpc.pipeline.stages import Outcome
from mwr_hpc.pipeline.units import Unit
from mwr_hpc.run_directory import STATE_FOLDER
from mwr_hpc.simulation.micrograph import MicrographSpecification

STAGE = "simulate_example"


def corpora_folder(environment: Mapping[str, str] = os.environ) -> Path:
    """Where simulated examples are kept: what can be made again belongs into the user's cache."""
    cache = environment.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(cache).expanduser() / "mwr_hpc" / "corpora"


def generic_corpus(emit: Emit, should_stop: ShouldStop) -> Path:
    """The examples behind BoxNetGeneric: simulated when they are needed for the first time.

    Raises
    ------
    InputError, DiskFullError
        The user's cache cannot be written to.
    StopRequested
        After a stop in good order.
    """
    return simulated_corpus(SPECIFICATION, NUMBER, emit, should_stop)


def simulated_corpus(specification: MicrographSpecification, number: int, emit: Emit, should_stop: ShouldStop) -> Path:
    """A store of simulated examples, made unless it is there; others who need it meanwhile wait for it.

    Parameters
    ----------
    specification, number
        Of the micrographs.
    emit, should_stop
        The observer, and the question whether to stop.

    Returns
    -------
    Path
        The store, named by what it was made from.

    Raises
    ------
    InputError, DiskFullError
        The user's cache cannot be written to.
    StopRequested
        After a stop in good order.
    """
    record = specification.to_record()
    key = unit_key(STAGE, {"specification": record, "number": number}, {})
    store = corpora_folder() / f"{key[:12]}.zarr"
    if _is_complete(store, number):
        return store
    emit(Notice(f"simulating {number} micrographs of other particles, once, into {store}"))
    require_writable(store)
    state = store / STATE_FOLDER
    units = [
        Unit(
            stage=STAGE,
            name=example_name(index),
            function="mwr_hpc.boxnet.generic:simulate_example",
            inputs={},
            input_keys={},
            parameters={"specification": record, "index": index},
            target=store / example_name(index),
        )
        for index in range(number)
    ]
    state.mkdir(parents=True, exist_ok=True)
    with critical_section(state / "making.json"), disk_full_reported(store):
        if _is_complete(store, number):
            return store
        with (
            working_in(store, units, emit, should_stop) as runner,
            local_pool(min(available_cores(), number)) as pool,
        ):
            done = runner.run(STAGE, units, pool)
        for identifier, reason in runner.quarantine.reasons({unit.name for unit in units}).items():
            raise StageError(f"{identifier}: {reason}")
        entries = [Entry.from_figures(done[unit.name].figures) for unit in units]
        write_index(store, entries, WORKING_PIXEL_SIZE, HELD_OUT, specification.seed)
    return store


def train_generic(
    settings: TrainGenericSettings, emit: Emit, should_stop: ShouldStop, backend: Backend = ON_THIS_HOST
) -> Outcome:
    """Train a generic model from scratch on simulated micrographs of many species.

    Parameters
    ----------
    settings
        As resolved from defaults, files, environment and command line.
    emit
        Called with every event.
    should_stop
        Polled; once it is true the command stops in good order.
    backend
        Where the work is done.

    Returns
    -------
    Outcome
        The model under its name.

    Raises
    ------
    ConfigError, InputError, StopRequested
        As `retrain` does.
    """
    specification = replace(SPECIFICATION, species=settings.species, seed=settings.corpus_seed)
    store = simulated_corpus(specification, settings.number, emit, should_stop)
    shared = settings.model_dump(include=set(RetrainSettings.model_fields) & set(TrainGenericSettings.model_fields))
    return retrain(RetrainSettings(parent=SCRATCH, examples=store, corpus=NONE, **shared), emit, should_stop, backend)


def _is_complete(store: Path, number: int) -> bool:
    try:
        return len(ExampleStore(store).names) == number
    except InputError:
        return False
