"""Makes what training on a processor needs, from nothing: a byte-level BPE tokenizer with a ChatML template and a randomly initialised Qwen2 of some 50,000 parameters.

usage: tiny_model.py [FOLDER]. Prints {} when it is done. As a stage of a pipeline it needs no folder and leaves `model` in its outputs.
"""

import json
import os
import sys

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM, set_seed

# Each turn stands for itself: verl templates turns one by one and compares with the template of the whole.
CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
CORPUS = [
    "system user assistant tool",
    "A farmer sells 48 eggs in April and half as many in May. How many eggs did the farmer sell altogether?",
    "48 / 2 = <<48/2=24>>24. 48 + 24 = 72. #### 72",
    "The quick brown fox jumps over the lazy dog; thirty-three crates hold nine hundred and ninety bottles.",
]


def make_tokenizer() -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    # All 256 bytes are in the vocabulary: no text is out of it.
    trainer = trainers.BpeTrainer(vocab_size=384, special_tokens=SPECIAL, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False)
    tokenizer.train_from_iterator(CORPUS, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|im_end|>", pad_token="<|endoftext|>", chat_template=CHAT_TEMPLATE, clean_up_tokenization_spaces=False, model_max_length=4096)


def make_model(tokenizer: PreTrainedTokenizerFast) -> Qwen2ForCausalLM:
    set_seed(7)
    size = dict(hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2)
    return Qwen2ForCausalLM(
        Qwen2Config(vocab_size=len(tokenizer), max_position_embeddings=4096, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id, bos_token_id=None, **size)
    )


if __name__ == "__main__":
    folder = sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.environ["TRAINYARD_OUTPUT_DIR"], "model")
    tokenizer = make_tokenizer()
    tokenizer.save_pretrained(folder)
    make_model(tokenizer).save_pretrained(folder)
    if "TRAINYARD_OUTPUTS_FILE" in os.environ:
        with open(os.environ["TRAINYARD_OUTPUTS_FILE"], "w", encoding="utf-8") as file:
            json.dump({"model": folder}, file)
    print("{}")
