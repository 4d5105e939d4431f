"""Scores an answer for verl's main_eval: 1 for the wanted text, 0 for any other."""


def compute_score(data_source, solution_str, ground_truth, extra_info=None):
    return 1.0 if solution_str.strip() == ground_truth.strip() else 0.0
