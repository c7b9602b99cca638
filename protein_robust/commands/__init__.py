"""What each command of the command line does, in terms of the rooms below.

A command imports what it needs: making a dataset folder does not take the memory of PyTorch.
"""
