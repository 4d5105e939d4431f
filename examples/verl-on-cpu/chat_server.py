"""Answers OpenAI's chat completions with transformers on the processor, for models as small as tiny_model.py's: no batching, one request at a time, loopback only.

usage: chat_server.py [PORT]. Prints "listening on PORT" when it is ready; without a port it takes a free one. `model` in a request is the path of a Hugging Face folder.
"""

import functools
import json
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer


@functools.lru_cache(maxsize=4)
def load(folder):
    return AutoTokenizer.from_pretrained(folder), AutoModelForCausalLM.from_pretrained(folder).float().eval()


@torch.no_grad()
def complete(request):
    tokenizer, model = load(request["model"])
    text = tokenizer.apply_chat_template(request["messages"], add_generation_prompt=True, tokenize=False)
    prompt = tokenizer(text, return_tensors="pt", add_special_tokens=False, return_token_type_ids=False)
    temperature = request.get("temperature", 1.0)
    drawing = {"do_sample": False} if temperature == 0 else {"do_sample": True, "temperature": temperature, "top_p": request.get("top_p", 1.0), "top_k": 0}
    limit = request.get("max_tokens") or 64
    sequences = model.generate(**prompt, max_new_tokens=limit, num_return_sequences=request.get("n", 1), **drawing)
    answers = sequences[:, prompt["input_ids"].shape[1]:]
    choices = []
    for index, answer in enumerate(answers):
        ended = tokenizer.eos_token_id in answer
        choices.append({"index": index, "message": {"role": "assistant", "content": tokenizer.decode(answer, skip_special_tokens=True)}, "finish_reason": "stop" if ended else "length"})
    used = {"prompt_tokens": prompt["input_ids"].shape[1], "completion_tokens": int(answers.numel())}
    return {"object": "chat.completion", "model": request["model"], "choices": choices, "usage": {**used, "total_tokens": sum(used.values())}}


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        try:
            request = json.loads(self.rfile.read(int(self.headers["content-length"])))
            status, answer = (200, complete(request)) if self.path == "/v1/chat/completions" else (404, {"error": {"message": f"{self.path} is not here"}})
        except Exception as error:
            status, answer = 400, {"error": {"message": f"{type(error).__name__}: {error}"}}
        body = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


if __name__ == "__main__":
    torch.set_num_threads(1)
    server = HTTPServer(("127.0.0.1", int(sys.argv[1]) if len(sys.argv) > 1 else 0), Handler)
    print(f"listening on {server.server_port}", flush=True)
    server.serve_forever()
