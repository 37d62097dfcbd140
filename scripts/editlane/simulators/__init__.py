"""What policies act in, and the program around it, which runs in the simulator's own environment.

Needs numpy and msgspec, and the packages of the one simulator that is used. Imports nothing else of Editlane.
"""
