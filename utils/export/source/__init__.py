"""Writes a network as plain PyTorch source.

literals   values, functions and operators as source layers     layers of torch.nn with their
arguments helpers    source for other libraries' functions steps      the operations of a network,
in order blocks     groups operations into classes, as in the network's own modules naming     names
of classes, values and parameters members    the layers of a block, as a constructor classes    one
class for all blocks that differ in numbers alone signatures the arguments of functions
forward    the lines of a forward pass write
the whole file
"""
