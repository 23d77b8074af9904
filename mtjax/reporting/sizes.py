"""Numbers of bytes for people."""


def size_of(count: float | int) -> str:
    """Bytes for people.

    >>> size_of(1.5 * 2**30)
    '1.50 GiB'
    """
    power = min(max(int(count).bit_length() - 1, 0) // 10, 3)
    return f"{count / 1024**power:,.2f} {' KMG'[power]}iB" if power else f"{count:,.0f} B"
