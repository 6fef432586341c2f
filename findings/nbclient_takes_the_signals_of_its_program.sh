#!/usr/bin/env bash
# A program that runs a notebook by nbclient isn't told of SIGTERM, and ends in an AssertionError.
#
# Versions: nbclient 0.11.0, ipykernel 7.4.0, nbformat 5.11.1.
#
# While a notebook runs, nbclient replaces the program's handlers of SIGTERM and SIGINT. Its own
# handler shuts the kernel down and forgets it; the end of the run then shuts it down once more, and
# "assert self.km is not None" fails. So a handler of the program's own, which may save what was
# done, is never called, and the exit status is 1 instead of what the handler decides.
#
# Ends with exit code 0 if nbclient still behaves so, and 1 if it has changed.
set -euo pipefail

room=$(mktemp -d)
trap 'rm -rf "$room"' EXIT
cd "$room"
python3 -m venv venv
venv/bin/pip install --quiet nbclient==0.11.0 ipykernel==7.4.0 nbformat==5.11.1
cat >program.py <<'PYTHON'
import signal
import sys

import nbformat
from nbclient import NotebookClient


def save_and_end(number, frame):
    print("handler called")
    sys.exit(7)


number = signal.Signals[sys.argv[1]]
signal.signal(number, save_and_end)
# The kernel is a child of this process, which it asks to end as a scheduler or Ctrl-C would.
code = f"import os, time; os.kill(os.getppid(), {number:d}); time.sleep(60)"
notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])
NotebookClient(notebook, kernel_name="python3").execute()
PYTHON
for signal in SIGTERM SIGINT; do
  status=0
  timeout 120 venv/bin/python program.py $signal >said 2>&1 || status=$?
  echo "$signal: exit status $status; the last line: $(tail -n 1 said)"
  [[ $status == 1 && $(tail -n 1 said) == AssertionError ]]
  if grep -q "handler called" said; then exit 1; fi
done
