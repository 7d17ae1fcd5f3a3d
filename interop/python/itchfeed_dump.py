#!/usr/bin/env python3
"""Reads a recorded day (u16 length + ITCH message) with itchfeed; prints each message as a line
of JSON, with the names of interop/src/fields.rs and every value as text.

Usage: itchfeed_dump.py DAY > DUMP
"""

import json
import sys

from itch.parser import MessageParser

COMMON = [("locate", "stock_locate"), ("tracking", "tracking_number"), ("timestamp", "timestamp")]

FIELDS = {
    b"S": [("code", "event_code")],
    b"R": [
        ("symbol", "stock"),
        ("market_category", "market_category"),
        ("financial_status", "financial_status_indicator"),
        ("round_lot", "round_lot_size"),
        ("round_lots_only", "round_lots_only"),
        ("issue_class", "issue_classification"),
        ("issue_sub_type", "issue_sub_type"),
        ("authenticity", "authenticity"),
        ("short_sale_threshold", "short_sale_threshold_indicator"),
        ("ipo", "ipo_flag"),
        ("luld_tier", "luld_ref"),
        ("etp", "etp_flag"),
        ("etp_leverage", "etp_leverage_factor"),
        ("inverse", "inverse_indicator"),
    ],
    b"H": [("symbol", "stock"), ("state", "trading_state"), ("reason", "reason")],
    b"A": [
        ("order_ref", "order_reference_number"),
        ("side", "buy_sell_indicator"),
        ("quantity", "shares"),
        ("symbol", "stock"),
        ("price", "price"),
    ],
    b"E": [
        ("order_ref", "order_reference_number"),
        ("quantity", "executed_shares"),
        ("match_number", "match_number"),
    ],
    b"C": [
        ("order_ref", "order_reference_number"),
        ("quantity", "executed_shares"),
        ("match_number", "match_number"),
        ("printable", "printable"),
        ("price", "execution_price"),
    ],
    b"X": [("order_ref", "order_reference_number"), ("quantity", "cancelled_shares")],
    b"D": [("order_ref", "order_reference_number")],
    b"U": [
        ("old_ref", "order_reference_number"),
        ("order_ref", "new_order_reference_number"),
        ("quantity", "shares"),
        ("price", "price"),
    ],
}


def text(value):
    """Bytes as they stand on the wire; numbers in decimal."""
    return value.decode("ascii") if isinstance(value, bytes) else str(value)


def main():
    with open(sys.argv[1], "rb") as file:
        day = file.read()
    for message in MessageParser().parse_stream(day):
        kind = message.message_type
        line = {"type": text(kind)}
        for ours, theirs in COMMON + FIELDS.get(kind, []):
            line[ours] = text(getattr(message, theirs))
        print(json.dumps(line))


if __name__ == "__main__":
    main()
