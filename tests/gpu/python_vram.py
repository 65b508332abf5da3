#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Is `vram` kept by the driver's count? A model generates from prompts of growing length while a thread looks at the device.

    tests/gpu/python_vram.py DIR --vram SIZE [--prompts N,N] [--new N] [--cold]

One JSON line a step: what was asked, the most that the process held, what the lender did. Nobody else may use the device.
Exit: 0 the limit was kept, 1 it was not.
"""
import argparse
import dataclasses
import json
import os
import subprocess
import sys
import threading
import time

import torch
import ufm
from ufm.models.budget import _shared
from ufm.sizes import parse_size


class Watch:
    """The most of the device that was taken, looked at every 2 ms from another process's point of view: the driver's."""

    def __init__(self):
        self.most, self.go_on = 0, True
        self.thread = threading.Thread(target=self._look, daemon=True)
        self.thread.start()

    def _look(self):
        while self.go_on:
            free, total = torch.cuda.mem_get_info()
            self.most = max(self.most, total - free)
            time.sleep(0.002)

    def take(self):
        most, self.most = self.most, 0
        return most

    def __enter__(self):
        return self

    def __exit__(self, *_):
        """A thread that is in the driver when Python ends takes the process down."""
        self.go_on = False
        self.thread.join()


def drop_from_page_cache(folder):
    for name in os.listdir(folder):
        with open(os.path.join(folder, name), "rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def io_bytes():
    """What this process had read from a disk, by the kernel's count."""
    with open("/proc/self/io", encoding="ascii") as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith("read_bytes"))


def peak_host_bytes():
    with open("/proc/self/status", encoding="ascii") as lines:
        found = dict(line.split(":", 1) for line in lines)
    return {name: int(found[name].split()[0]) * 1024 for name in ("VmHWM", "RssAnon", "RssFile", "RssShmem") if name in found}


def disk_rate(folder):
    """Bytes a second of the largest files, read past the page cache by four dd side by side."""
    paths = [os.path.join(folder, name) for name in os.listdir(folder)]
    paths = sorted(paths, key=os.path.getsize)[-4:]
    begin = time.monotonic()
    readers = [
        subprocess.Popen(["dd", f"if={path}", "of=/dev/null", "bs=16M", "iflag=direct"], stderr=subprocess.DEVNULL)
        for path in paths
    ]
    if any(reader.wait() for reader in readers):
        raise OSError(f"{folder}: dd could not read past the page cache")
    return sum(map(os.path.getsize, paths)) / (time.monotonic() - begin)


def say(**row):
    print(json.dumps(row), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", metavar="DIR")
    parser.add_argument("--vram", required=True)
    parser.add_argument("--prompts", default="16,512,2048,8192,16")
    parser.add_argument("--new", type=int, default=64)
    parser.add_argument("--cold", action="store_true", help="the checkpoint is dropped from the page cache first")
    args = parser.parse_args()
    limit = parse_size(args.vram, "--vram")
    if args.cold:
        drop_from_page_cache(args.folder)
    torch.cuda.init()
    with Watch() as watch:
        most = run(args, watch)
    kept = most <= limit
    say(step="end", kept=kept, most_bytes=most, vram_bytes=limit)
    return 0 if kept else 1


def run(args, watch):
    """Loads and generates; the most that the process held."""
    begin, read = time.monotonic(), io_bytes()
    model = ufm.from_pretrained(args.folder, vram=args.vram)
    load_s, io_bytes_loaded = time.monotonic() - begin, io_bytes() - read
    paging = ufm.paging_of(model)
    lender = _shared[0].current(paging.device)
    kept = [watch.take()]
    experts = sum(group.bank.info.bank_bytes for group in paging.groups)
    say(
        step="load",
        most_bytes=kept[0],
        seconds=load_s,
        read_bytes=io_bytes_loaded,
        expert_bytes=experts,
        held_bytes=paging.held_bytes(),
        host=peak_host_bytes(),
        lender=dataclasses.asdict(lender.info()),
    )
    for length in map(int, args.prompts.split(",")):
        row = generate(model, length, args.new)
        kept.append(watch.take())
        say(step="generate", **row, most_bytes=kept[-1], held_bytes=paging.held_bytes(), lender=dataclasses.asdict(lender.info()))
    if args.cold:
        drop_from_page_cache(args.folder)
        rate, loaded = disk_rate(args.folder), (io_bytes_loaded / load_s)
        say(step="disk", bytes_per_s=rate, loaded_bytes_per_s=loaded, of_disk=loaded / rate)
    return max(kept)


def generate(model, length, new):
    vocabulary = model.config.get_text_config().vocab_size
    prompt = (torch.arange(length, device=model.device) % vocabulary)[None]
    begin, why = time.monotonic(), None
    try:
        made = model.generate(prompt, max_new_tokens=new, do_sample=False).shape[1] - length
    except (ufm.UfmError, torch.cuda.OutOfMemoryError) as error:
        made, why = 0, f"{type(error).__name__}: {error}"
    torch.cuda.synchronize()
    return {
        "prompt": length,
        "made": made,
        "why": why,
        "seconds": time.monotonic() - begin,
        "torch_reserved_bytes": torch.cuda.memory_reserved(),
    }


if __name__ == "__main__":
    sys.exit(main())
