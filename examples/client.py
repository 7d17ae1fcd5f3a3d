#!/usr/bin/env python3
"""A complete client of rialto's order entry over UDP, from docs/connect.md alone.

Logs in, sends one order, prints every report in order, logs off. Needs nothing but Python 3:

    python3 examples/client.py buy ALPH 100 10.05
    python3 examples/client.py sell ALPH 40 10.05 --user BRVO01 --key 03*32

Exit code 0: accepted; 3: refused by the exchange; 1: not reached.
"""
import argparse, hashlib, hmac, os, socket, struct, sys, time

BLANK = b" " * 10
MARKET = 0x7FFFFFFF
LOGIN_REFUSED = {
    "A": "not authorised: user, key, source address, or the gateway's address is not the public one",
    "S": "no session: the day is over or the user is closed",
    "T": "time: this clock is more than 5 s off, or behind the last login",
    "B": "bound elsewhere: log off there first",
    "E": "this gateway does not lead",
}
CANCELED = {
    "U": "as asked for",
    "I": "nothing more to trade with at once",
    "K": "nothing more within the market order's protection price",
    "Z": "by the exchange (session ended, or replace above the rate)",
    "E": "the day is over",
}
REJECTED = {
    0x0002: "the market is closed, or entry is closed just now",
    0x0003: "display must be Y or N",
    0x0007: "the symbol or the venue is halted",
    0x0009: "side must be B or S",
    0x000A: "a table of the exchange is full; try later",
    0x000C: "the account is unknown or not this firm's",
    0x000F: "the message is not one that is offered here",
    0x0013: "quantity must be 1 to 999,999 and a multiple of the lot",
    0x0015: "not replaceable now: market closed or symbol halted",
    0x0017: "unknown symbol",
    0x001D: "price is zero, off the tick, or market without immediate",
    0x001E: "more shares than the account may order at once",
    0x001F: "more money than the account may order at once",
    0x0020: "not enough free cash or shares on the account",
    0x0022: "the venue takes cancels only just now",
    0x0024: "this order type is not offered",
    0x0025: "the account's shares for today are used up",
    0x0026: "price is outside the symbol's band",
    0x0029: "too many messages per second; slow down",
}
UNKNOWN = "for a reason this program does not know"


def packet(session, sequence, *blocks):
    """MoldUDP64: 20-byte head, then each block behind its length."""
    head = struct.pack(">10sQH", session, sequence, len(blocks))
    return head + b"".join(struct.pack(">H", len(b)) + b for b in blocks)


def unpack(data):
    """Head and blocks of a datagram; None unless the blocks fill it exactly."""
    if len(data) < 20:
        return None
    session, sequence, count = struct.unpack(">10sQH", data[:20])
    blocks, at = [], 20
    while at + 2 <= len(data):
        length = struct.unpack(">H", data[at : at + 2])[0]
        blocks.append(data[at + 2 : at + 2 + length])
        at += 2 + length
    whole = at == len(data) and len(blocks) == (0 if count in (0, 0xFFFF) else count)
    return (session, sequence, count, blocks) if whole else None


class Client:
    def __init__(self, gateway, user, key):
        self.gateway, self.user, self.key = gateway, user.encode().ljust(6), key
        self.token = self.name = BLANK  # until A
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.reports = {}  # number -> bytes, until it is their turn
        self.next_report = 1  # 1: have the whole day replayed
        self.known = 1  # the exchange's next report number, as far as it said
        self.applied = 0  # K: our messages through here are settled
        self.unsettled = {}  # sequence -> bytes
        self.ended = False
        self.asked_at = self.sent_at = self.heard_at = 0.0

    def send(self, data):
        self.socket.sendto(data, self.gateway)
        if data[:10] == self.token:  # a request shows no token and is no sign of life
            self.sent_at = time.monotonic()

    def receive(self, seconds):
        """One datagram of the gateway, or None. A dead exchange shows as ConnectionError: ignore."""
        self.socket.settimeout(seconds)
        try:
            data, source = self.socket.recvfrom(2048)
        except OSError:
            return None
        return unpack(data) if source == self.gateway else None

    def login(self, seconds=3.0):
        nonce, challenge, until = os.urandom(16), bytes(16), time.monotonic() + seconds
        block = None
        while time.monotonic() < until:
            if block is None:  # the same bytes again while nothing new was said
                now = time.time_ns()
                block = struct.pack(">cBBB6s2x10sQH", b"L", 1, 0, 0, self.user, BLANK, 0, 0)
                block += struct.pack(">Q16s16s", now, nonce, challenge)
                ip = socket.inet_aton(self.gateway[0]) + struct.pack(">H", self.gateway[1])
                mac = hmac.new(self.key, block + ip, hashlib.sha256).digest()
                block += bytes(32) if challenge == bytes(16) else mac
            self.send(packet(BLANK, 0, block))
            got = self.receive(0.05)
            if got is None or got[1] != 0 or len(got[3]) != 1:
                continue
            answer = got[3][0]
            if answer[:1] == b"H" and len(answer) == 17:
                if answer[1:] != challenge:
                    challenge, block = answer[1:], None
            elif answer[:1] == b"J" and answer[8:24] == nonce:
                code = chr(answer[1])
                sys.exit("login refused: %s: %s" % (code, LOGIN_REFUSED.get(code, UNKNOWN)))
            elif answer[:1] == b"A" and len(answer) == 104 and answer[56:72] == nonce:
                mac = hmac.new(self.key, answer[:72], hashlib.sha256).digest()
                if hmac.compare_digest(mac, answer[72:]):
                    self.token, self.name = answer[4:14], answer[14:24]
                    self.known, self.applied, self.next_urn = struct.unpack(">QQI", answer[24:44])
                    self.sequence, self.heard_at = self.applied + 1, time.monotonic()
                    return
        sys.exit("no answer from %s:%d: is the exchange running there?" % self.gateway)

    def message(self, block):
        """Takes a message; `poll` sends and repeats it until it is settled."""
        sequence, self.sequence = self.sequence, self.sequence + 1
        self.unsettled[sequence] = block
        self.send(packet(self.token, sequence, block))
        return sequence

    def poll(self):
        """Receives once, repeats what is due; returns reports in order, each exactly once."""
        got, now = self.receive(0.005), time.monotonic()
        if got:
            session, sequence, count, blocks = got
            if sequence == 0 and session == self.token and blocks[0][:1] == b"K":
                applied, next_report = struct.unpack(">QQ", blocks[0][1:17])
                self.applied = max(self.applied, applied)
                self.known, self.heard_at = max(self.known, next_report), now
            elif session == self.name and sequence > 0:
                self.heard_at, self.ended = now, self.ended or count == 0xFFFF
                self.known = max(self.known, sequence + len(blocks))
                for number, block in enumerate(blocks, sequence):
                    if number >= self.next_report:
                        self.reports[number] = block
        out = []
        while self.next_report in self.reports:
            report = self.reports.pop(self.next_report)
            if report[:1] == b"N":  # lost and overtaken: settled, never applied
                first, count = struct.unpack(">QI", report[9:21])
                self.applied = max(self.applied, first + count - 1)
            out.append((self.next_report, report))
            self.next_report += 1
        if self.next_report < self.known and now - self.asked_at > 0.01:  # a gap: ask
            count = min(self.known - self.next_report, 1000)
            self.send(struct.pack(">10sQH", self.name, self.next_report, count))
            self.asked_at = now
        for sequence in [s for s in self.unsettled if s <= self.applied]:
            del self.unsettled[sequence]
        if now - self.sent_at > (0.02 if self.unsettled else 0.5):
            for sequence, block in sorted(self.unsettled.items())[:1]:
                self.send(packet(self.token, sequence, block))
            if not self.unsettled:
                self.send(packet(self.token, self.sequence))  # heartbeat: our next number
        if now - self.heard_at > 5.0:
            sys.exit("the exchange is silent")
        return out

    def logoff(self):
        until = time.monotonic() + 1.0
        while not self.ended and time.monotonic() < until:
            self.send(struct.pack(">10sQH", self.token, self.sequence, 0xFFFF))
            self.poll()


def order(urn, side, quantity, symbol, price, ioc):
    return struct.pack(
        ">cIcI8sQccccc14sH", b"O", urn, side, quantity, symbol.encode().ljust(8), price,
        b"3" if ioc else b"0", b"Y", b"P", b"N", b"N", b"client.py".ljust(14), 0,
    )


def words(report):
    letter, body = report[:1], report[9:]
    if letter == b"S":
        return {"S": "the day begins", "E": "the day is over"}.get(chr(body[0]), "system event")
    if letter == b"A":
        urn, side, quantity, symbol, price = struct.unpack(">IcI8sQ", body[:25])
        limit = "market" if price == MARKET else "%.4f" % (price / 1e4)
        return "accepted: order %d %s %d %s at %s" % (
            urn, "buys" if side == b"B" else "sells", quantity, symbol.decode().strip(), limit)
    if letter == b"E":
        urn, quantity, price, liquidity, match = struct.unpack(">IIQcQ", body[:25])
        return "executed: order %d trades %d at %.4f, match %d" % (urn, quantity, price / 1e4, match)
    if letter == b"C":
        why = CANCELED.get(chr(body[8]), UNKNOWN)
        return "canceled: order %d loses %d shares: %s" % (struct.unpack(">II", body[:8]) + (why,))
    if letter == b"I":
        return "cancel refused: order %d stays" % struct.unpack(">I", body[:4])
    if letter == b"J":
        urn, reason = struct.unpack(">IH", body[:6])
        return "rejected: order %d: 0x%04X, %s" % (urn, reason, REJECTED.get(reason, UNKNOWN))
    if letter == b"U":
        return "replaced: order %d by %d" % struct.unpack(">II", body[:8])
    if letter == b"N":
        return "not applied: from message %d, %d of them" % struct.unpack(">QI", body[:12])
    return "report " + report.hex()


def price(text):
    """Price in 1/10,000; any other text than a price is a wrong argument."""
    if text == "market":
        return MARKET
    whole, point, part = text.partition(".")
    if not whole.isdigit() or (point and not part.isdigit()) or len(part) > 4:
        raise ValueError(text)
    return int(whole) * 10000 + int(part.ljust(4, "0"))


def quantity(text):
    if not 0 <= int(text) < 1 << 32:  # what else is wrong with it, the exchange says
        raise ValueError(text)
    return int(text)


def name(most):
    """Letters and digits, at most so many."""
    def name(text):
        if not (text.isascii() and text.isalnum() and len(text) <= most):
            raise ValueError(text)
        return text
    return name


def gateway(text):
    """Address and port; a name is looked up, as the login signs the address."""
    host, _, port = text.partition(":")
    if not port.isdigit() or int(port) > 0xFFFF:
        raise ValueError(text)
    try:
        return socket.gethostbyname(host), int(port)
    except OSError as error:
        raise argparse.ArgumentTypeError("%s: %s" % (host, error))


def key(text):
    key = bytes.fromhex(text[:-3] * 32 if text.endswith("*32") else text)
    if len(key) != 32:
        raise ValueError(text)
    return key


def main():
    parse = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parse.add_argument("side", choices=["buy", "sell"])
    parse.add_argument("symbol", type=name(8))
    parse.add_argument("quantity", type=quantity)
    parse.add_argument("price", type=price, help="such as 10.05, or market")
    parse.add_argument("--gateway", type=gateway, default="127.0.0.1:9001", help="address:port")
    parse.add_argument("--user", type=name(6), default="ALFA01")
    parse.add_argument("--key", type=key, default="01*32", help="64 hex digits, or one byte *32")
    parse.add_argument("--seconds", type=float, default=0.5, help="print reports for this long")
    a = parse.parse_args()
    client = Client(a.gateway, a.user, a.key)
    client.login()
    print("logged in: %s, next report %d" % (client.name.decode(), client.known))
    urn, side = client.next_urn, b"B" if a.side == "buy" else b"S"
    sequence = client.message(order(urn, side, a.quantity, a.symbol, a.price, a.price == MARKET))
    accepted, until = None, time.monotonic() + a.seconds
    while client.unsettled or time.monotonic() < until:
        for number, report in client.poll():
            print("%6d  %s" % (number, words(report)))
            if report[:1] in b"AJ" and struct.unpack(">I", report[9:13])[0] == urn:
                accepted = report[:1] == b"A"
                client.applied = max(client.applied, sequence)
    client.logoff()
    sys.exit(0 if accepted else 3)


if __name__ == "__main__":
    main()
