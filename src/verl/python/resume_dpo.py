"""TRL's own DPO program (trl.scripts.dpo, what `trl dpo` starts), going on from a checkpoint.

Releases before 1.0 parse --resume_from_checkpoint and then begin anew all the same: their program calls train() without it. Here train() gets it. Nothing else differs.
"""

from transformers import Trainer
from trl.scripts.dpo import main, make_parser

script_arguments, training_arguments, model_arguments, dataset_arguments = make_parser().parse_args_and_config()[:4]
train = Trainer.train


def train_on(self, resume_from_checkpoint=None, **rest):
    return train(self, resume_from_checkpoint=resume_from_checkpoint or training_arguments.resume_from_checkpoint, **rest)


Trainer.train = train_on
main(script_arguments, training_arguments, model_arguments, dataset_arguments)
