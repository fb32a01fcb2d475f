"""What is known of an image from its documents."""

import pytest

from container.model.image import Descriptor, Platform
from container.oci.image import UNKNOWN_DATE, Variant, creation_date


@pytest.mark.parametrize(
    ("created", "date"),
    [
        (["0001-01-01T00:00:00Z"], "0001-01-01T00:00:00Z"),
        (["2019-01-01T12:00:00.123456789+02:00", None], "2019-01-01T10:00:00Z"),
        (["2026-01-01T00:00:00Z", "2025-01-01T00:00:00Z"], "2025-01-01T00:00:00Z"),
        (["0001-01-01T00:00:00+02:00"], UNKNOWN_DATE),  # before the calendar begins
        ([None, ""], UNKNOWN_DATE),
    ],
)
def test_the_creation_date_is_the_earliest_in_utc_and_four_digits_of_year(created: list[str | None], date: str) -> None:
    blob = Descriptor("application/json", "sha256:00", 2)
    variants = [Variant(Platform("linux", "amd64"), blob, blob, [], {"created": each}) for each in created]
    assert creation_date(variants) == date
