"""What stands behind the scripts, a room for each subject. Imports go one way, down this list; a
test holds them to it.

    study/      our own evidence: its plan as data, its outcomes with their uncertainty, its tables
                and figures
    experiment/ a whole experiment: its jobs from its settings, how far they are, running them here
    or on Slurm
    figures/    curves gathered from results, the gap to uniform scaling, tables, pictures and the
                looks of curves
    export/     a network to take away: the formats, and the folder they are written to
    search/     architecture descent: `search` opens a record, `descent` is the paper's algorithm,
                `iteration` prunes one network
    compression/ a trained network made smaller: criteria, goals, the training in which it is pruned
    training/   the device, the step and the one epoch loop; training from scratch, sweeps over
                ratios, the magnitude baseline
    data/       reading data sets, decoding a folder's images once into a file; batches and
                augmentation on the device
    records/    paths; files that are whole or not there; what searches, results and checkpoints
                hold; the methods compared;
                the published figures; the original release's pickles
    settings/   what all of it depends on: each setting once, with default, bounds and help; data
                sets' presets; command lines
    pruning     the pruning rule: which gates close, and when an iteration ends (needs nothing but
                torch)
    powerlaw    the fit of widths against parameters (needs nothing but numpy)
    script      how a script ends: exit status, one line for what a user can mend
    errors      UserError, that line

Below all of it is `model/`: the networks, their gates and costs, and the widths for a budget; and
in it `model/graph/`: everything that reads, resizes or cuts a network from its graph.

Reading the paper in code: architecture_descent.py -> search/search.py -> search/descent.py ->
search/iteration.py -> pruning.py; and from search/descent.py -> powerlaw.py, and model/filters.py
-> model/budget.py.
"""
