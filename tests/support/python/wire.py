"""A line between two interfaces whose frames come late, out of order or twice; run by netns.py in the switch's namespace.

Usage: wire.py INTERFACE INTERFACE [--delay-ms N] [--jitter-ms N] [--duplicate PERCENT] [--seed N]
Frames are raw: the senders' interfaces must compute checksums themselves and cut segments to the MTU. Both directions
have the same delay; jitter above the time between two frames puts them out of order. Prints "ready" when it forwards.
"""
import argparse
import heapq
import random
import select
import socket
import time

ALL_PROTOCOLS = 3
MAX_FRAME = 1 << 16
MAX_LATE = 20_000  # frames under way; more are dropped, as a full router would
OUTGOING = 4  # sll_pkttype of frames that this end sent itself


def open_end(interface):
    end = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ALL_PROTOCOLS))
    end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
    end.bind((interface, 0))
    end.setblocking(False)
    return end


def forward(ends, options):
    chance = random.Random(options.seed)
    other = {ends[0]: ends[1], ends[1]: ends[0]}
    late = []  # (time, number, end, frame)
    number = 0
    while True:
        wait = max(0.0, late[0][0] - time.monotonic()) if late else None
        ready, _, _ = select.select(ends, [], [], wait)
        for end in ready:
            try:
                frame, address = end.recvfrom(MAX_FRAME)
            except OSError:
                continue  # nothing there after all, or the line is being taken away
            if address[2] == OUTGOING:
                continue
            for _ in range(2 if chance.random() * 100 < options.duplicate else 1):
                due = time.monotonic() + (options.delay_ms + chance.uniform(0, options.jitter_ms)) / 1000
                number += 1
                if len(late) < MAX_LATE:
                    heapq.heappush(late, (due, number, other[end], frame))
        now = time.monotonic()
        while late and late[0][0] <= now:
            _, _, end, frame = heapq.heappop(late)
            try:
                end.send(frame)
            except OSError:
                pass  # lost: the line is being taken away, or the queue is full


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("interfaces", nargs=2)
    parser.add_argument("--delay-ms", type=float, default=0)
    parser.add_argument("--jitter-ms", type=float, default=0)
    parser.add_argument("--duplicate", type=float, default=0, help="percent")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    ends = [open_end(interface) for interface in options.interfaces]
    print("ready", flush=True)
    forward(ends, options)


if __name__ == "__main__":
    main()
