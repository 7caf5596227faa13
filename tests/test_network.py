"""A network's numbers are those of its arithmetic; ``test_fast`` compares them with Keras's."""

from labcode.network import SIDE, Network


def test_an_unpooled_convolution_keeps_its_side_and_the_first_layer_s_inputs_need_no_gradient():
    network = Network(((4, 5, True), (8, 3, False)), hidden=16)
    assert network.shapes()[2:5] == [(3, 3, 4, 8), (8,), (8 * 10 * 10, 16)]
    counts = [24 * 24 * 25 * 4, 10 * 10 * 9 * 4 * 8, 800 * 16, 160]
    assert network.multiply_adds(SIDE) == counts
    assert network.training_flop(SIDE) == 2 * (3 * sum(counts) - counts[0])


def test_a_network_sees_what_its_last_maps_depend_on_and_no_more():
    for network, side in (
        (Network(((4, 5, True), (8, 3, False)), hidden=16), 28),
        (Network(((4, 5, False), (8, 4, True)), hidden=16), 27),  # 24, 21, of which 20 are pooled
    ):
        assert network.seen() == side
        assert network._sides(side)[-1] == network._sides(SIDE)[-1] > network._sides(side - 1)[-1]


def test_a_kernel_that_is_not_trained_is_only_computed_forward_and_what_follows_it_not_towards_its_input():
    network = Network(((4, 5, True), (8, 3, False)), hidden=16, whitened=True)
    whitened, second, *others = network.multiply_adds(SIDE)
    assert network.training_flop(SIDE) == 2 * (whitened + 2 * second + 3 * sum(others))
    assert network.trained(list("kbKBhHoO")) == list("KBhHoO") and Network((), 16).trained(["k", "b"]) == ["k", "b"]
