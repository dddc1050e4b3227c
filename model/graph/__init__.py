"""The graph compiler: everything that reads, resizes, cuts or flattens a network from its graph.

A user's network stays the user's own object and runs its own code. The graph is read for widths and
costs; it is run only where the network's own code can't be run at other widths.

    Reading
    trace         traces a network to its graph (torch.fx)
    tracer          lets its code depend on the size of the images
    whole           names the modules that are taken as a whole
    in_place        rewires operations that work in place
    operations    the functions and methods of PyTorch, by what they do to channels
    layer_kinds   the modules of PyTorch, by what they do to channels
    channels      widths, and which channels belong to which width
    channel_map   the record that reading a graph fills in
    reading       reads a graph, node by node
    rules           a rule for each module and function:
    layer_rules     layers and norms
    shape_rules     changes of shape
    reduce_rules    operations along dimensions
    sizes           numbers computed from the shapes of results
    own_numbers   frozen tensors, buffers and constants: they fix a width, or are repeated

    Changing, in place
    resize        puts other tensors into a network's own layers
    reinit        initialises layers at other widths
    graph_module  a module that runs a network's graph
    resizable     a network at any widths, as its own object or as its graph
    trial         tries whether its own code runs at other widths, and with gates
    blueprint     its costs, which of the two is built, and its description

    Gates
    liveness      channels that closed gates make zero
    insert_gates  the places at which gates are needed
    hooks         gates in the modules of a user's network
    cut           removes closed filters from a user's layers; tied filters go together

    This project's own networks, whose gates are not tied
    compaction    removes what closed gates have made dead
    selection     picks channels between layers that keep different ones
    flatten       a network without gates and selections, for export, by
    regions         what works channel by channel between its layers

    user_network  imports and makes the network MODULE:FUNCTION or FILE.py:FUNCTION
    own_imports     lets a file import the modules beside it, whatever their names
    as_before       restores everything else that its code may have changed
"""
