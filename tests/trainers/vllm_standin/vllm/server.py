"""`vllm serve`, as far as TRL's client asks: HTTP for requests, one TCP connection for the weights."""

from __future__ import annotations

import json
import math
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any, ClassVar

import torch

from vllm.distributed.weight_transfer.nccl_common import PATIENCE_S
from vllm.policy import Policy
from vllm.sampling_params import SamplingParams

QUIET_S = 2.0
"""Weights that were announced arrive before the next silence of this length."""


class Refused(Exception):
    """A request that the real server would refuse or hang on; answered with status 400."""


class Server:
    """The policy behind the endpoints, each a method that takes the request's body.

    Args:
        path: of the model.
        new: whether it is a vLLM from 0.28 on.
    """

    def __init__(self, path: str, *, new: bool) -> None:
        self.policy, self._path, self._new = Policy(path, seed=0), path, new
        self._connection: socket.socket | None = None
        self._updating = False
        self.url = ""
        self.requests: list[str] = []

    def models(self, body: Any) -> Any:
        return {"data": [{"id": self._path}]}

    def health(self, body: Any) -> Any:
        return {}

    def server_info(self, body: Any) -> Any:
        model = {"logprobs_mode": "processed_logprobs"}
        return {"vllm_config": {"weight_transfer_config": {"backend": "nccl"}, "model_config": model}}

    def get_world_size(self, body: Any) -> Any:
        return {"world_size": 1}

    def init_weight_transfer_engine(self, body: Any) -> Any:
        info = body["init_info"]
        if info.get("packed", False) is not self._new:
            raise Refused("`packed` belongs to the init info from 0.28 on, and only there")
        until = time.monotonic() + PATIENCE_S
        while self._connection is None:
            try:
                self._connection = socket.create_connection((info["master_address"], info["master_port"]))
            except ConnectionRefusedError:  # the trainer joins while this request is open
                if time.monotonic() > until:
                    raise
                time.sleep(0.01)
        self._connection.settimeout(QUIET_S)
        return {}

    def start_weight_update(self, body: Any) -> Any:
        self._updating = True
        return {}

    def update_weights(self, body: Any) -> Any:
        info = body["update_info"]
        if not self._updating or self._connection is None:
            raise Refused("weights come before the start of the update")
        if info.get("packed", False) is self._new:
            raise Refused("`packed` belongs to the update info up to 0.27, and only there")
        for name, dtype, shape in zip(info["names"], info["dtype_names"], info["shapes"], strict=True):
            kind = getattr(torch, dtype)
            values = torch.frombuffer(self._receive(math.prod(shape) * kind.itemsize), dtype=kind)
            self.policy.load_weights([(name, values.view(shape))])
        return {}

    def finish_weight_update(self, body: Any) -> Any:
        self._updating = False
        assert self._connection is not None
        self._connection.setblocking(False)
        try:
            if self._connection.recv(1):
                raise Refused("more weights came than were announced")
        except BlockingIOError:
            pass
        finally:
            self._connection.settimeout(QUIET_S)
        return {}

    def reset_prefix_cache(self, body: Any) -> Any:
        self.policy.events.append(("reset_prefix_cache",))
        return {"success": True} if self._new else None

    def completions(self, body: Any) -> Any:
        for name, expected in {
            "return_token_ids": True,
            "return_tokens_as_token_ids": True,
            "model": self._path,
        }.items():
            if body.pop(name) != expected:
                raise Refused(f"{name} is not {expected!r}")
        prompts, params = body.pop("prompt"), SamplingParams(**body)
        repeated = [ids for ids in prompts for _ in range(params.n)]
        sampled = self.policy.sample(repeated, params)
        wanted = params.logprobs is not None
        return {"choices": [_choice(*pair, wanted=wanted) for pair in zip(repeated, sampled, strict=True)]}

    def _receive(self, size: int) -> bytearray:
        assert self._connection is not None
        received = bytearray()
        while len(received) < size:
            try:
                piece = self._connection.recv(min(size - len(received), 1 << 20))
            except TimeoutError:
                raise Refused("fewer weights came than were announced") from None
            received += piece
        return received


def _choice(prompt: list[int], completion: list[tuple[int, float]], *, wanted: bool) -> dict[str, Any]:
    names = [f"token_id:{token}" for token, _ in completion]
    values = [value for _, value in completion]
    top = [{name: value} for name, value in zip(names, values, strict=True)]
    logprobs = {"tokens": names, "token_logprobs": values, "top_logprobs": top}
    choice = {"prompt_token_ids": prompt, "token_ids": [token for token, _ in completion]}
    return {**choice, "logprobs": logprobs if wanted else None}


class Handler(BaseHTTPRequestHandler):
    """Maps paths to the server's methods."""

    server_of: ClassVar[Server]
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer(("health", "server_info", "get_world_size", "v1/models"))

    def do_POST(self) -> None:
        weights = ("init_weight_transfer_engine", "start_weight_update", "update_weights", "finish_weight_update")
        self._answer((*weights, "reset_prefix_cache", "v1/completions"))

    def _answer(self, known: tuple[str, ...]) -> None:
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or "null")
        path = self.path.split("?")[0].removeprefix("/")
        status, answer = 404, {"detail": f"no endpoint {path}"}
        if path in known:
            self.server_of.requests.append(path)
            endpoint: Callable[[Any], Any] = getattr(self.server_of, path.removeprefix("v1/"))
            try:
                status, answer = 200, endpoint(body)
            except Exception as error:  # whatever it was, the client is to hear of it
                status, answer = 400, {"detail": f"{type(error).__name__}: {error}"}
        content = b"" if answer is None else json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *arguments: Any) -> None:
        """Say nothing."""


@contextmanager
def serve(path: str, *, new: bool = True) -> Iterator[Server]:
    """Serve the model at `path` until the block ends; `url` of what it yields is where."""
    server = Server(path, new=new)
    handler = type("BoundHandler", (Handler,), {"server_of": server})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as listening:
        listening.daemon_threads = True
        server.url = f"http://127.0.0.1:{listening.server_address[1]}"
        thread = Thread(target=listening.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield server
        finally:
            listening.shutdown()
            thread.join()
            if server._connection is not None:
                server._connection.close()
