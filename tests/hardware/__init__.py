"""Work on nodes: plans without devices, steps on scripted ones, whole notebooks' worth on the lab."""
