"""Answers that try to get points, or to stop the grader, without doing the exercise.

All of them are answers to the first exercise of lesson 3: the gradient of the bias of a
convolution, `dy.sum(axis=(0, 2, 3))`. `BEFORE` runs in the notebook's first cell. They do no harm
to the machine.
"""

WRONG = "return 0 * dy.sum(axis=(0, 2, 3))"

BEFORE = {
    "the checker is replaced": "exercises.check = lambda *a, **o: print('right')",
    "the judge is replaced": """
import numpy_shufflenet.exercises.judge as judge
for name in list(vars(judge)):
    if callable(vars(judge)[name]):
        setattr(judge, name, lambda *a, **o: None)
""",
    "the error is made harmless": "exercises.NotYet.__init__ = None",
    "the library is replaced": """
ops.conv2d_backward = lambda dy, cache: (0 * cache.x, 0 * cache.w, 0 * dy.sum(axis=(0, 2, 3)))
""",
    "NumPy is replaced": """
np.abs = np.zeros_like
np.array_equal = np.allclose = lambda *a, **o: True
""",
    "JSON is replaced": """
import json
json.dumps = lambda *a, **o: '{"value": {"plain": 1}, "seconds": 0, "printed": "", "changed": []}'
""",
    "pickle is replaced": "import pickle; pickle.loads = lambda data: ('my_db', (), {}, 1)",
    "garbage in every descriptor": """
import os
for number in range(3, 64):
    try:
        os.write(number, b'right' * 100)
    except OSError:
        pass
""",
    "a forged signature": """
import json, os
data = json.dumps({'my_db': [['dy', 99, 'x']]}).encode()
for number in range(3, 64):
    try:
        os.write(number, len(data).to_bytes(8, 'little') + data)
    except OSError:
        pass
""",
    "a forged list of functions": """
import os
for number in range(3, 64):
    try:
        os.write(number, (2).to_bytes(8, 'little') + b'[]')
    except OSError:
        pass
""",
    "a message without an end": """
import os
for number in range(3, 64):
    try:
        os.write(number, (2**62).to_bytes(8, 'little'))
    except OSError:
        pass
""",
    "descriptors are closed": "import os; os.closerange(3, 64)",
    "the process ends": "import os; os._exit(0)",
    "the process is killed": "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
    "SystemExit": "raise SystemExit(0)",
    "an exit handler": "import atexit; atexit.register(print, 'right')",
    "signals are ignored": """
import signal
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGPROF):
    signal.signal(number, signal.SIG_IGN)
""",
    "the limit is lifted": """
import numpy_shufflenet.exercises.worker as worker
worker.limit_computing = worker.limit_memory = lambda limit: None
""",
    "a thread that goes on": """
import threading, time
threading.Thread(target=time.sleep, args=(30,)).start()
""",
    "a child left behind": """
import subprocess, sys
subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(30)  # left behind'])
""",
    "an import hook": "import sys; sys.meta_path.insert(0, None)",
    "frames walked to the target": """
import gc
for found in gc.get_objects():
    if type(found).__name__ == 'Case':
        found.expected = 0
""",
    "a cell that sleeps": "import time; time.sleep(600)",
}

LIES = """class Lies(np.ndarray):
        __eq__ = __le__ = __ge__ = lambda self, other: np.ones(self.shape, bool)
        __sub__ = __rsub__ = lambda self, other: np.zeros(self.shape)
    return np.zeros(len(dy[0])).view(Lies)
"""
ANSWERS = {
    "zeros": WRONG,
    "NaN": "return np.nan * dy.sum(axis=(0, 2, 3))",
    "prints": f"print('right. 1 of 1 points')\n    {WRONG}",
    "says yes": "return type('Yes', (), {'__eq__': lambda *a: True, '__bool__': lambda s: True})()",
    "an array that lies": LIES,
    "a callable": "return lambda *a: dy.sum(axis=(0, 2, 3))",
    "a dict": "return {'db': dy.sum(axis=(0, 2, 3))}",
    "a generator": "return (x for x in dy.sum(axis=(0, 2, 3)))",
    "objects": "return np.array([object()] * dy.shape[1])",
    "200 MB": "return np.zeros(25_000_000)",
    "nested without end": "a = []\n    a.append(a)\n    return a",
    "an endless loop": "while True:\n        pass",
    "sleep": "import time\n    time.sleep(600)",
    "memory": "a = []\n    while True:\n        a.append(bytearray(10**8))",
    "recursion": "return my_db(dy)",
    "BaseException": "raise BaseException('right')",
    "an error that can't be pickled": "raise type('E', (Exception,), {'__reduce__': 1})('right')",
    "an error without a text": (
        "raise type('E', (Exception,), {'__str__': lambda s: 1 / 0, '__repr__': None})()"
    ),
    "KeyboardInterrupt": "raise KeyboardInterrupt",
    "kills itself": "import os, signal\n    os.kill(os.getpid(), signal.SIGKILL)",
    "ends": "import os\n    os._exit(0)",
    "stops itself": "import os\n    os._exit(3)",
    "writes into the channel": (
        "import os\n    for n in range(3, 64):\n        try:\n"
        "            os.write(n, b'{' * 20)\n        except OSError:\n            pass\n"
        "    return 0"
    ),
    "forges a reply": (
        "import os, json\n    reply = b'[[[['\n    for n in range(3, 64):\n        try:\n"
        "            os.write(n, len(reply).to_bytes(8, 'little') + reply)\n"
        "        except OSError:\n            pass\n    return 0"
    ),
    "the library's own": (
        "x, w = np.zeros((len(dy), 1, *dy.shape[2:])), np.zeros((dy.shape[1], 1, 1, 1))\n"
        "    return ops.conv2d_backward(dy, ops.conv2d_forward(x, w, 0 * w[:, 0, 0, 0])[1])[2]"
    ),
}

FEW = (  # those that ended the grader once, or stalled it, and some others
    "garbage in every descriptor",
    "a forged signature",
    "a child left behind",
    "200 MB",
    "sleep",
    "forges a reply",
    "the library's own",
)
