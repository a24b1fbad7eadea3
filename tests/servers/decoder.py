"""What a token of a language model costs a GPU, without the model: every weight is read once."""

import threading

import torch

LAYERS, WIDTH, HIDDEN = 24, 4096, 11008


class Decoder:
    """Layers of random weights. A step takes a vector through all of them, bound by memory as decoding is."""

    def __init__(self):
        def weights(rows, columns):
            return torch.randn(rows, columns, device="cuda", dtype=torch.float16) / rows**0.5

        self.layers = [(weights(WIDTH, HIDDEN), weights(HIDDEN, WIDTH)) for _ in range(LAYERS)]
        self.lock = threading.Lock()
        self.step()

    @torch.inference_mode()
    def step(self):
        """One token. Streams take turns: batches would be another experiment."""
        with self.lock:
            state = torch.randn(1, WIDTH, device="cuda", dtype=torch.float16)
            for up, down in self.layers:
                state = state + torch.nn.functional.silu(state @ up) @ down
            torch.cuda.synchronize()
