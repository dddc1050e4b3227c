"""Networks of other people's: everything that reads, resizes, cuts or flattens a network from its graph.

    trace         the graph of a network (torch.fx)
    operations    what each operation of PyTorch does to channels: the one table
    channels      widths, and which channels are of which
    channel_map   what is noted while a graph is read
    reading       reads a graph, node by node, by
    layer_rules     a rule for each layer and function, and
    shape_rules     a rule for each change of shape
    liveness      where closed gates make channels zero, and which channels are needed
    blueprint     a network at any widths: what it costs, how it is built
    reinit        the initialisation of layers at other widths
    insert_gates  where gates have to be
    compaction    removes what closed gates have made dead
    selection     picks channels between layers that keep different ones
    flatten       a network without gates and selections, for export
    user_network  MODULE:FUNCTION or FILE.py:FUNCTION, imported and made
"""
