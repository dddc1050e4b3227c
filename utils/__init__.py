"""The rooms behind the scripts. Imports go one way, down this list; a test holds them to it.

    study/      our own evidence: its plan as data, its results with their uncertainty, tables and
                figures
    experiment/ a whole experiment: its jobs, their states, running them here or on Slurm
    figures/    curves gathered from results, the gap to uniform scaling, tables, pictures and their
                style; the page of them all
    export/     a network to take away: the formats, and the folder they are written to
    search/     architecture descent: `search` opens a record, `descent` is the paper's algorithm,
                `iteration` prunes one network
    compression/ a trained network made smaller: criteria, goals, the training in which it is pruned
    training/   the device, the step and the one epoch loop; training from scratch, sweeps over
                ratios, the magnitude baseline
    data/       data sets; a folder's images decoded once into a file; batches and augmentation on
                the device
    records/    paths; files that are whole or not there; the contents of searches, results and
                checkpoints; the methods that are compared; the published results; the original
                release's pickles
    settings/   everything that a run depends on: each setting once, with default, bounds and help;
                presets for data sets; command lines
    pruning     the pruning rule: which gates close, and when an iteration ends (needs only torch)
    powerlaw    the fit of widths against parameters (needs only numpy)
    script      the end of a script: exit status, one line for errors that a user can mend
    errors      UserError, that line

Below all of these is `model/`: the networks, their gates and costs, and the widths for a budget;
in it, `model/graph/` reads, resizes and cuts networks by their graphs.

Reading the paper in code: architecture_descent.py -> search/search.py -> search/descent.py ->
search/iteration.py -> pruning.py; and from search/descent.py -> powerlaw.py, and model/filters.py
-> model/budget.py.
"""
