"""The interface of a network, whether of this project or a user's."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Protocol

from model.cost import Cost, Number
from model.errors import UnreadableNetwork
from model.images import ImageSize

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from model.graph.reading import Reading


class Compaction(Protocol):
    """Removes closed filters from a gated ``network``.

    ``kept`` is what a fresh network needs to be cut to the same shape. ``reading`` is the channel
    map of the network. ``gate_nodes`` has for each node with gates the numbers of their widths, and
    the gate of each channel (None: gate c for channel c). ``exact`` is True if the outputs do not
    change.
    """

    kept: dict[str, Tensor]
    reading: Reading
    exact: bool
    multiple: int

    @property
    def network(self) -> nn.Module: ...

    @property
    def gate_nodes(self) -> dict[str, tuple[list[int], Tensor | None]]: ...

    def channels(self, name: str) -> int: ...

    def compact(
        self,
        alive: list[Tensor],
        optimizer: torch.optim.Optimizer | None = None,
        worthwhile: float = 0.05,
    ) -> bool: ...

    def restore(
        self, kept: dict[str, Tensor], optimizer: torch.optim.Optimizer | None = None
    ) -> None: ...

    def kept_filters(self) -> list[Tensor]: ...

    def count(self, alive: list[Tensor]) -> Cost:
        """Return the cost of the network with the filters ``alive`` alone, without gates.

        ``alive`` has a bool per filter for each gate. The cost is its parameters and the
        multiply-accumulates of one image's forward pass.
        """

    def channel_mask(self, name: str) -> Tensor:
        """Return which channels of a node's result in the full network remain (bools)."""

    def sliced(self, path: str, tensor: Tensor) -> Tensor: ...

    def finished(self) -> nn.Module: ...


class Architecture(ABC):
    """A network at any widths.

    ``template`` has its own widths; the search adds ``search_extra`` to widths below 10.
    ``image_size`` is as model.images.pixels_of returns it.
    """

    name: str
    template: list[int]
    search_extra: int

    @abstractmethod
    def build(
        self,
        filters: list[int],
        num_classes: int,
        image_size: ImageSize,
        gated: bool,
        convcut: bool,
    ) -> nn.Module:
        """Return a freshly initialised network."""

    @abstractmethod
    def count(
        self, cost: Cost, filters: Number, num_classes: int, image_size: ImageSize, convcut: bool
    ) -> None:
        """Add a network's costs to ``cost``. Widths are (L,), or (L, n) for n networks."""

    @abstractmethod
    def compactor(
        self,
        network: nn.Module,
        num_classes: int,
        image_size: ImageSize,
        multiple: int,
        through_norms: bool,
    ) -> Compaction:
        """Return the object that removes closed filters from a gated network.

        Widths stay multiples of ``multiple`` channels where there are enough. With
        ``through_norms``, filters are also removed where a norm takes a mean over them, which
        changes its outputs.
        """

    def params(
        self, filters: Number, num_classes: int, image_size: ImageSize, convcut: bool = False
    ) -> Number:
        """Return the parameters of the network without gates."""
        self.count(cost := Cost(), filters, num_classes, image_size, convcut)
        return cost.params

    def macs(
        self, filters: Number, num_classes: int, image_size: ImageSize, convcut: bool = False
    ) -> Number:
        """Return the multiply-accumulates of one image's forward pass."""
        self.count(cost := Cost(), filters, num_classes, image_size, convcut)
        return cost.macs

    def layers(self) -> list[list[str]] | None:
        """Return the layers that make each width; None for this project's own networks."""
        return None

    @abstractmethod
    def layer_names(self) -> list[list[str]]:
        """Return for each width the layers that have it, by the names of their modules."""

    def described(self, num_classes: int, image_size: ImageSize) -> list[str]:
        """Return a table of the widths, a line each."""
        widths = zip(self.template, self.layer_names())
        return [
            f"{'width':>5} {'filters':>8}  layers",
            *[
                f"{number:5} {width:8}  {', '.join(layers)}"
                for number, (width, layers) in enumerate(widths)
            ],
        ]


class OwnArchitecture(Architecture):
    """A network of this project: a module with TEMPLATE, LAYERS, SEARCH_EXTRA, build and count."""

    def __init__(self, name: str, module: Any):
        self.name, self.template, self.search_extra = (
            name,
            list(module.TEMPLATE),
            module.SEARCH_EXTRA,
        )
        self.module = module

    def build(
        self,
        filters: list[int],
        num_classes: int,
        image_size: ImageSize,
        gated: bool,
        convcut: bool,
    ) -> nn.Module:
        side = self.side(image_size)
        built: nn.Module = self.module.build(filters, num_classes, side, gated, convcut)
        return built

    def count(
        self, cost: Cost, filters: Number, num_classes: int, image_size: ImageSize, convcut: bool
    ) -> None:
        self.module.count(cost, filters, num_classes, self.side(image_size), convcut)

    def layer_names(self) -> list[list[str]]:
        names: list[list[str]] = self.module.LAYERS
        return names

    def compactor(
        self,
        network: nn.Module,
        num_classes: int,
        image_size: ImageSize,
        multiple: int,
        through_norms: bool,
    ) -> Compaction:
        from model.graph.compaction import Compactor

        return Compactor(network, self.side(image_size), multiple)

    def side(self, image_size: ImageSize) -> int:
        """The pixels of a side of square images of 3 channels. Raises UnreadableNetwork for
        others, which these networks don't take."""
        if not isinstance(image_size, int):
            raise UnreadableNetwork(
                f"{self.name} takes square images of 3 channels alone, as in the paper, not of "
                f"{image_size}; a network of your own, --model FILE.py:FUNCTION, may take these"
            )
        return image_size
