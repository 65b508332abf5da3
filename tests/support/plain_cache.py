# SPDX-License-Identifier: MIT
"""One cache without a ring in plain Python, slow, written from the definitions and not from the C code.

An event is a list of different keys in rank order. Its hits are counted first; then its members are
placed. No member displaces another; members beyond the capacity pass by.
"""
NEVER = float("inf")


def next_uses(events):
    """next_uses(events)[e][key]: the next event after e that demands this member of e."""
    coming, found = {}, [None] * len(events)
    for number in reversed(range(len(events))):
        found[number] = {key: coming.get(key, NEVER) for key in events[number]}
        coming.update(dict.fromkeys(events[number], number))
    return found


def _oldest_leave(events, slots, use_renews):
    """FIFO, or LRU where a use renews. What is inside stands in a list, the oldest first."""
    queue, hits = [], 0
    for members in events:
        present = [key for key in members if key in queue]
        hits += len(present)
        if use_renews:
            # Placed or not, members are ordered by their uses, which came in rank order.
            others = [key for key in queue if key not in members]
            room = slots - len(present)
            admitted = [key for key in members if key not in present][:room]
            stay = [key for key in members if key in present or key in admitted]
            keep = slots - len(stay)
            queue = (others[-keep:] if keep else []) + stay
        else:
            for key in members:
                if key in present:
                    continue
                if len(queue) == slots:
                    victim = next((other for other in queue if other not in members), None)
                    if victim is None:
                        continue
                    queue.remove(victim)
                queue.append(key)
        assert len(queue) <= slots
    return hits


def lru(events, slots):
    return _oldest_leave(events, slots, True)


def fifo(events, slots):
    return _oldest_leave(events, slots, False)


def _nearest(keys, due, count):
    return set(sorted(keys, key=lambda key: due[key])[:count])


def optimum(events, slots, bypass):
    """Belady's choice for sets. bypass: what stays of all that was there or came is what is needed
    first. Else the members stay, and of the rest what is needed first; of more members than slots
    those that are needed first."""
    inside, due, hits = set(), {}, 0
    for members, following in zip(events, next_uses(events)):
        hits += len(inside.intersection(members))
        due.update(following)
        if bypass:
            inside = _nearest(inside.union(members), due, slots)
        elif len(members) > slots:
            inside = _nearest(members, due, slots)
        else:
            rest = inside.difference(members)
            inside = set(members) | _nearest(rest, due, slots - len(members))
    return hits


POLICIES = {
    "lru": lru,
    "fifo": fifo,
    "min": lambda events, slots: optimum(events, slots, False),
    "min-bypass": lambda events, slots: optimum(events, slots, True),
}
