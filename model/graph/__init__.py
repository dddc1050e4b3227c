"""Networks of other people's: everything that reads, resizes, cuts or flattens a network from its graph.

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
    liveness      where closed gates make channels zero, and which channels are needed
    blueprint     a network at any widths: what it costs, how it is built
    reinit        the initialisation of layers at other widths
    insert_gates  where gates have to be
    compaction    removes what closed gates have made dead
    selection     picks channels between layers that keep different ones
    flatten       a network without gates and selections, for export
    user_network  MODULE:FUNCTION or FILE.py:FUNCTION, imported and made
"""
