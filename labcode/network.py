"""A network in numbers: the shapes of its weights, the pixels that it sees, the operations that a step takes."""

import math
from dataclasses import dataclass

from labcode.idx import SIDE

POOL = 2  # the side of the squares of which the maximum is kept


@dataclass(frozen=True)
class Network:
    """Convolutions with a ReLU, some with a 2x2 max pooling, then a hidden dense layer, then ten classes.

    Attributes:
        convolutions: (filters, side of the kernel, whether pooled) of each; none for a fully connected network.
        hidden: units of the dense layer.
        whitened: whether the first kernel is ``whitening.kernel``, which is computed from the images and not trained.
    """

    convolutions: tuple
    hidden: int
    whitened: bool = False

    def shapes(self):
        """The shapes of the weights, kernels and biases in turn, as Keras orders them."""
        shapes, channels = [], 1
        for filters, kernel, _ in self.convolutions:
            shapes += [(kernel, kernel, channels, filters), (filters,)]
            channels = filters
        inputs = channels * self._sides(SIDE)[-1] ** 2
        return [*shapes, (inputs, self.hidden), (self.hidden,), (self.hidden, 10), (10,)]

    def trained(self, weights):
        """Those of the weights that training changes."""
        return weights[2:] if self.whitened else weights

    def seen(self):
        """The side of the square of pixels, from the top left corner, that reaches the answers.

        A pooling leaves out the last row and column of an odd number of them, and so what only they depend on.
        """
        side = self._sides(SIDE)[-1]
        for _, kernel, pooled in reversed(self.convolutions):
            side = side * (POOL if pooled else 1) + kernel - 1
        return side

    def _sides(self, side):
        """The side of the images, then of each convolution's maps after its pooling."""
        sides = [side]
        for _, kernel, pooled in self.convolutions:
            sides.append((sides[-1] - kernel + 1) // (POOL if pooled else 1))
        return sides

    def multiply_adds(self, side):
        """Those of the forward pass of one image, by layer; images of side ``SIDE`` and ``seen()`` get one answer."""
        kernels = self.shapes()[::2]
        positions = [(side - kernel[0] + 1) ** 2 for side, kernel in zip(self._sides(side), kernels[:-2], strict=False)]
        return [math.prod(kernel) * count for kernel, count in zip(kernels, [*positions, 1, 1], strict=True)]

    def training_flop(self, side):
        """Floating-point operations of the training step of one image of that side, two to a multiply-add.

        Forward, towards the weights, and towards the layer's input; the last not for the first layer that is trained,
        and neither for one before it.
        """
        counts, fixed = self.multiply_adds(side), int(self.whitened)
        return 2 * (sum(counts[:fixed]) + 2 * counts[fixed] + 3 * sum(counts[fixed + 1 :]))


REPORT_CNN = Network(((64, 3, True), (128, 3, True), (256, 3, True)), hidden=256)
FC = Network((), hidden=128)
