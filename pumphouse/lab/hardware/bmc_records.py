"""What a BMC keeps about its machine, as bytes: FRU, sensor data records, device id.

FRU as in the Platform Management FRU Information Storage Definition 1.0 (revision 1.2), the rest as in IPMI 2.0
(sections 20.1, 33.9-33.12 and 43.9).
"""

from __future__ import annotations

from collections.abc import Iterable

MANUFACTURER = "Pumphouse Lab"
#: Get Device ID: device 0x20, firmware 1.00, IPMI 2.0; it has chassis, FRU and SDR repository. No manufacturer id.
DEVICE_ID = bytes((0x20, 0x01, 0x01, 0x00, 0x02, 0x8A, 0, 0, 0, 0, 0, 0, 0, 0, 0))

_TEXT = 0xC0
_END = 0xC1
_RACK_MOUNT = 0x17
_LOCATOR = (0x20, 0, 0, 0x8A, 0, 0, 0, 6, 1, 0)


def fru(serial: str, product: str) -> bytes:
    """FRU 0 of a machine. The serials of chassis and board differ from the product's, as on many real machines."""
    chassis = _area((1, 0, _RACK_MOUNT), (f"{product} chassis", f"CH-{serial}"))
    board = _area((1, 0, 0, 0, 0, 0), (MANUFACTURER, f"{product} board", f"BRD-{serial}", "PN-1", "0"))
    goods = _area((1, 0, 0), (MANUFACTURER, product, "PN-0", "1", serial, "", "0"))
    offsets = (1, 1 + len(chassis) // 8, 1 + (len(chassis) + len(board)) // 8)
    return _with_checksum(bytes((1, 0, *offsets, 0, 0))) + chassis + board + goods


def sensor_records() -> bytes:
    """The SDR repository: one record, the management controller itself; there are no sensors."""
    name = b"BMC"
    body = bytes((*_LOCATOR, _TEXT | len(name))) + name
    return bytes((1, 0, 0x51, 0x12, len(body))) + body


def _area(head: tuple[int, ...], fields: Iterable[str]) -> bytes:
    data = bytes(head) + b"".join(map(_field, fields)) + bytes((_END,))
    data += bytes(-(len(data) + 1) % 8)
    return _with_checksum(bytes((data[0], (len(data) + 1) // 8)) + data[2:])


def _field(text: str) -> bytes:
    data = text.encode("latin-1", "replace")[:63]
    # a text of one byte would read as the end of the fields
    data = data + b" " if len(data) == 1 else data
    return bytes((_TEXT | len(data),)) + data if data else b"\0"


def _with_checksum(data: bytes) -> bytes:
    return data + bytes((-sum(data) % 256,))
