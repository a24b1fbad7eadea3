"""Keeps a GPU busy for a share of the time, and says for how long it was.

Prints `ready` when it begins, and after each period how many products it made so far, and the milliseconds that these took by
CUDA's own events. Two that take turns on a GPU stretch each other's milliseconds; products are what was done.
"""

import argparse
import signal
import time

import torch

PERIOD = 0.2


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--size", type=int, default=8192)
    parser.add_argument("--busy", type=float, required=True, help="share of the time, 0 to 1")
    options = parser.parse_args()
    ended = []
    signal.signal(signal.SIGTERM, lambda *_: ended.append(True))
    left, right = (torch.randn(options.size, options.size, device="cuda", dtype=torch.float16) for _ in range(2))
    torch.cuda.synchronize()
    print("ready", flush=True)
    products, busy = 0, 0.0
    while not ended:
        begun = time.monotonic()
        while not ended and time.monotonic() - begun < PERIOD * options.busy:
            first, last = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            first.record()
            left @ right
            last.record()
            torch.cuda.synchronize()
            products += 1
            busy += first.elapsed_time(last)
        print(f"{products} {busy:.1f}", flush=True)
        time.sleep(max(0.0, begun + PERIOD - time.monotonic()))


if __name__ == "__main__":
    main()
