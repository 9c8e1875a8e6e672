"""llama.cpp's own server out of a wheel: `xllamacpp` has it prebuilt.

Arguments: the model's file, the socket's path, how many threads compute.
"""

import sys
import threading

import xllamacpp

model, socket, threads = sys.argv[1:]
options = xllamacpp.CommonParams()
options.model.path = model
options.hostnames = [socket]
options.n_parallel = 4
options.cpuparams.n_threads = options.cpuparams_batch.n_threads = int(threads)
options.use_jinja = True
# What remembers, and what shows itself: prompts kept for other requests, slots, pages.
options.cache_prompt = False
options.cache_ram_mib = 0
options.endpoint_slots = options.endpoint_props = options.ui = False
server = xllamacpp.Server(options)
threading.Event().wait()
