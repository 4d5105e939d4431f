"""Has a scorer of the user's judge answers, one after the other, as src/evaluation/scorers/program-scorer.ts does where it can start the scorer itself.

Arguments: file of questions (one JSON object a line, given to the scorer as it is), file for what it says (one line for each question, in their order: {"line": what it said} or
{"error": what it did instead}), seconds for one answer, "--", argv of the scorer. Exit code 0 when every question was put; 1, and a line "evaluation refused: ..." on standard error, when the
scorer cannot be started or never works. Python 3.6, standard library only.
"""

import json
import math
import queue
import subprocess
import sys
import threading

TRIES = 2
MOST_FAILURES = 5
MOST_LINE_BYTES = 1048576
CLOSE_SECONDS = 1


class Broken(Exception):
    """What the scorer did instead of judging, in the past tense."""


class Refused(Exception):
    pass


class Scorer:
    def __init__(self, argv):
        try:
            self.child = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        except FileNotFoundError:
            raise Refused("The scorer's program %s cannot be started: it does not exist on this host." % argv[0])
        except OSError as error:
            raise Refused("The scorer's program %s cannot be started: %s." % (argv[0], error.strerror))
        self.lines = queue.Queue()
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        while True:
            line = self.child.stdout.readline(MOST_LINE_BYTES + 1)
            self.lines.put(line)
            if not line:
                return

    def ask(self, question, seconds):
        if not self.lines.empty():
            ahead = self.lines.get()
            raise Broken("wrote a line without being asked" if ahead else self.ended())
        try:
            self.child.stdin.write(question)
            self.child.stdin.flush()
        except OSError:
            pass  # its end says why
        try:
            line = self.lines.get(timeout=seconds)
        except queue.Empty:
            raise Broken("gave no score within %g s" % seconds)
        if not line.endswith(b"\n"):
            raise Broken("wrote a line longer than %d bytes" % MOST_LINE_BYTES if len(line) > MOST_LINE_BYTES else self.ended())
        text = line.decode("utf-8", "replace")
        check(text)
        return text

    def ended(self):
        code = self.child.wait()
        return "ended with exit code %d" % code if code >= 0 else "was ended by signal %d" % -code

    def end(self, gently=False):
        try:
            self.child.stdin.close()
        except OSError:
            pass
        try:
            self.child.wait(timeout=CLOSE_SECONDS if gently else 0)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()


def check(text):
    try:
        found = json.loads(text)
    except ValueError:
        raise Broken("wrote %s where one JSON object was to be" % json.dumps(text[:200]))
    if not isinstance(found, dict):
        raise Broken("wrote JSON that is no object")
    score = found.get("score")
    if not isinstance(score, (bool, int, float)) or not math.isfinite(score):
        raise Broken("wrote the score %s, and it must be a number" % (json.dumps(score) if "score" in found else "of no value"))


def main():
    questions, scores, seconds, argv = sys.argv[1], sys.argv[2], float(sys.argv[3]), sys.argv[5:]
    scorer, failures = None, 0
    with open(questions, "rb") as asked, open(scores, "wb") as told:
        for question in asked:
            said = None
            for _ in range(TRIES):
                scorer = scorer or Scorer(argv)
                try:
                    said = {"line": scorer.ask(question, seconds)}
                    failures = 0
                    break
                except Broken as error:
                    said = {"error": str(error)}
                    print("the scorer's program %s; it is started again" % error, file=sys.stderr, flush=True)
                    scorer.end()
                    scorer = None
            if "error" in said:
                failures += 1
                if failures >= MOST_FAILURES:
                    raise Refused("the scorer's program gave no score for %d answers in a row; the last time it %s" % (failures, said["error"]))
            told.write(json.dumps(said).encode() + b"\n")
            told.flush()
    if scorer is not None:
        scorer.end(gently=True)


try:
    main()
except Refused as error:
    print("evaluation refused: %s" % error, file=sys.stderr, flush=True)
    sys.exit(1)
