"""Writes a network as plain PyTorch source.

literals   values, functions and operators as source
layers     layers of torch.nn with the arguments that make them again
helpers    what other libraries' functions are written as
steps      what a network does, operation by operation
blocks     which of them stand together in a class, as in the network's own modules
naming     names of classes, values and parameters
members    how a block makes its layers
classes    one class for all blocks that differ in numbers alone
forward    the lines of a forward pass
write      the whole file
"""
