"""MAC addresses as users write them."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from container.errors import ContainerError
from container.model.mac import normalise_mac


@example(bytes(6), ":")
@given(st.binary(min_size=6, max_size=6), st.sampled_from(":-"))
def test_mac_addresses_are_normalised_and_impossible_ones_refused(octets: bytes, separator: str) -> None:
    text = octets.hex(separator).upper()
    if not any(octets):
        with pytest.raises(ContainerError, match="no interface can have it"):
            normalise_mac(text)
    elif octets[0] & 1:
        with pytest.raises(ContainerError, match="multicast"):
            normalise_mac(text)
    else:
        assert normalise_mac(text) == octets.hex(":")


@pytest.mark.parametrize("text", ["", "f2:00:00:00:00", "f2:00:00:00:00:0g", "f2000000000000"])
def test_what_is_no_mac_address_is_refused(text: str) -> None:
    with pytest.raises(ContainerError, match="expected format: XX:XX:XX:XX:XX:XX"):
        normalise_mac(text)
