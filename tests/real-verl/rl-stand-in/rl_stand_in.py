"""Puts main_ppo_stand_in.py in the place of verl.trainer.main_ppo, in a process whose VERL_USE_EXTERNAL_MODULES names this: without GPUs verl's own cannot train."""

import importlib.util
import os
import sys


class StandIn:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name != "verl.trainer.main_ppo":
            return None
        return importlib.util.spec_from_file_location(name, os.path.join(os.path.dirname(__file__), "main_ppo_stand_in.py"))


sys.meta_path.insert(0, StandIn)
