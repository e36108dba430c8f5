"""Bad input by the thousand: whatever is read is understood, or refused with an error of ours that tells no secret.

``make test`` tries a few of each kind, ``make fuzz`` as many as ``PUMPHOUSE_FUZZ`` says, and prints how many.
"""
