"""Networks of other people's: everything that reads, resizes, cuts or flattens a network from its
graph.

A network stays its owner's object, and runs its owner's code: the graph is read for widths and
costs, and run only where that code can't be run at other widths.

    Reading
    trace         the graph of a network (torch.fx), made by
    tracer          which lets code go by the size of the images, of
    whole           modules that are known as a whole, and
    in_place        what operations in place have changed
    operations    what each operation of PyTorch does to channels: the one table
    channels      widths, and which channels are of which
    channel_map   what is noted while a graph is read
    reading       reads a graph, node by node, by
    rules           a rule for each module and function:
    layer_rules     layers and norms,
    shape_rules     changes of shape,
    reduce_rules    what works along dimensions,
    sizes           numbers that go by how many channels there are
    own_numbers   what is frozen, a buffer or the same in every channel: fixes a width, or is
                  repeated

    Changing, in place
    resize        other tensors for a network's own layers
    reinit        the initialisation of layers at other widths
    graph_module  the graph of a network as a module that runs it
    resizable     a network at any widths, as its own object or as its graph
    trial         whether its own code can be run at other widths, and with gates
    blueprint     what it costs, which of both is built, what is told of it

    Gates
    liveness      where closed gates make channels zero
    insert_gates  where gates have to be
    hooks         gates in the owner's modules
    cut           removes closed filters from the owner's layers: what is tied goes together

    Of this project's own networks, whose gates are not tied
    compaction    removes what closed gates have made dead, by its graph
    selection     picks channels between layers that keep different ones
    flatten       a network without gates and selections, for export

    user_network  MODULE:FUNCTION or FILE.py:FUNCTION, imported and made
    own_imports     with a file's own modules beside it, whatever they are called
    as_before       and nothing else changed by its code
"""
