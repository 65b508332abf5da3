# SPDX-License-Identifier: MIT
"""Where a peer keeps its experts. Each has `begin(used)`, `run(expert, x)` and counters of one run."""
from collections import OrderedDict

import torch


class Placement:
    """`locked`: wants page-locked experts. `budget`: which bound the device memory is given."""
    locked, budget = True, "target"

    def __init__(self, geometry, bank, device, slots_max):
        self.geometry, self.bank, self.device = geometry, bank, device
        self.slots = 0
        self.clear_counters()

    def clear_counters(self):
        self.resident_uses = self.streamed_uses = self.written_back = 0

    def begin(self, used):
        pass


class Resident(Placement):
    """Everything on the device."""
    budget = "limit"

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.blocks = [self.bank.block(e).to(self.device, copy=True) for e in range(self.geometry.experts)]
        self.slots = self.geometry.experts

    def run(self, e, x):
        self.resident_uses += 1
        return self.geometry.expert(self.geometry.parts(self.blocks[e]), x)


class Naive(Placement):
    """Pageable; every expert goes to the device before its call and back after it."""
    locked, budget = False, "limit"

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.parts = [self.bank.parts(e) for e in range(self.geometry.experts)]

    def run(self, e, x):
        there = [part.to(self.device, copy=True) for part in self.parts[e]]
        y = self.geometry.expert(there, x)
        self.parts[e] = [part.to("cpu", copy=True) for part in there]
        self.streamed_uses += 1
        self.written_back += 1
        return y


class _Stream:
    """A second stream for copies, or nothing at all on a device without streams."""

    def __init__(self, device):
        self.real = torch.cuda.Stream(device) if device.type == "cuda" else None

    def copy(self, to, block, free, ready):
        """`to` = `block` once `free` is past; `ready` is past when it is there."""
        if self.real is None:
            to.copy_(block)
            return
        with torch.cuda.stream(self.real):
            self.real.wait_event(free)
            to.copy_(block, non_blocking=True)
            ready.record(self.real)


class _Slots(Placement):
    """Fixed slots on the device, filled by a side stream while others compute; an event each way."""

    def __init__(self, geometry, bank, device, slots_max):
        super().__init__(geometry, bank, device, slots_max)
        self.slots = self.count(slots_max)
        self.blocks = torch.empty((self.slots, geometry.block_items), dtype=bank.block(0).dtype, device=device)
        self.stream = _Stream(device)
        events = torch.cuda.Event if device.type == "cuda" else None
        self.ready = [events and events() for _ in range(self.slots)]
        self.free = [events and events() for _ in range(self.slots)]

    def count(self, slots_max):
        if slots_max < 1:
            raise torch.OutOfMemoryError("no slot fits the target")
        return min(slots_max, self.geometry.experts)

    def fill(self, slot, e):
        self.stream.copy(self.blocks[slot], self.bank.block(e), self.free[slot], self.ready[slot])
        self.streamed_uses += 1

    def compute(self, slot, x):
        if self.ready[slot]:
            self.ready[slot].wait()
        y = self.geometry.expert(self.geometry.parts(self.blocks[slot]), x)
        if self.free[slot]:
            self.free[slot].record()
        return y


class Lru(_Slots):
    """Keeps the experts used last."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.slot_of = OrderedDict()

    def run(self, e, x):
        if e in self.slot_of:
            self.resident_uses += 1
            self.slot_of.move_to_end(e)
        else:
            full = len(self.slot_of) == self.slots
            slot = self.slot_of.popitem(last=False)[1] if full else len(self.slot_of)
            self.slot_of[e] = slot
            self.fill(slot, e)
        return self.compute(self.slot_of[e], x)


class Restream(_Slots):
    """Keeps nothing: every expert passes through a ring of four slots in every step."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.next = 0

    def count(self, slots_max):
        return super().count(min(slots_max, 4))

    def run(self, e, x):
        slot, self.next = self.next, (self.next + 1) % self.slots
        self.fill(slot, e)
        return self.compute(slot, x)


class _Expert(torch.nn.Module):
    """An expert as a model of Transformers has it: a Linear for each matrix, with its bias where it has one."""

    def __init__(self, parts, geometry):
        super().__init__()
        self.geometry, biased = geometry, len(parts) == 4
        weights = parts[::2] if biased else parts
        with torch.device("meta"):
            self.up, self.down = (torch.nn.Linear(w.shape[1], w.shape[0], bias=biased) for w in weights)
        names = ("weight", "bias") if biased else ("weight",)
        for (owner, name), part in zip(((o, n) for o in (self.up, self.down) for n in names), parts):
            setattr(owner, name, torch.nn.Parameter(part, requires_grad=False))

    def forward(self, x):
        return self.down(self.geometry.activation(self.up(x)))


class Accelerate(Placement):
    """The hooks of accelerate: what fits `max_memory` stays on the device, the rest is offloaded to the CPU."""
    locked = False

    def __init__(self, geometry, bank, device, slots_max):
        super().__init__(geometry, bank, device, slots_max)
        import accelerate
        model = torch.nn.Module()
        model.experts = torch.nn.ModuleList(_Expert(bank.parts(e), geometry) for e in range(geometry.experts))
        if device.type == "cuda":
            room = {0: slots_max * geometry.expert_bytes, "cpu": 2 * bank.bytes}
            places = accelerate.infer_auto_device_map(model, max_memory=room, no_split_module_classes=["_Expert"])
            self.model = accelerate.dispatch_model(model, device_map=places)
        else:
            self.model = accelerate.cpu_offload(model, execution_device=device)
        self.offloaded = [self.model.experts[e].up.weight.is_meta for e in range(geometry.experts)]
        self.slots = geometry.experts - sum(self.offloaded)

    def run(self, e, x):
        if self.offloaded[e]:
            self.streamed_uses += 1
        else:
            self.resident_uses += 1
        return self.model.experts[e](x)


PLACEMENTS = {"torch_resident": Resident, "torch_lru": Lru, "torch_restream": Restream,
              "accelerate_offload": Accelerate, "torch_naive": Naive}
