"""Killed anywhere, disturbed anywhere, undone from anywhere: complete sweeps of a command against the lab.

``make sweep`` (``python -m tests.sweep``) prints the figures and fails when anything did not survive. Three sweeps:

- *kill* (:mod:`tests.sweep.kills`): the process ends itself with SIGKILL at every point between two things that last;
  then the same command again reaches what an undisturbed run reaches;
- *undo*: from what each of these kills leaves, the undoing reaches the start again;
- *faults* (:mod:`tests.sweep.faults`): every kind of fault at every request.

**What is swept is a scenario** (:class:`tests.sweep.scenario.Scenario`): the move of a project and its roll back
(:mod:`tests.sweep.moving`), the acquisition and the transfer of a node (:mod:`tests.sweep.transferring`). Another takes
these lines:

1. The lab's part of it registers with the lab's checkpoints, so that it is kept, put back and shown like the clouds:
   ``world.checkpoints.parts.append(Fields("name", [(owner, ("attribute", …))]))`` in :mod:`pumphouse.lab.server`; see
   :mod:`pumphouse.lab.parts`. Work in the background is told by ``tasks``.
2. A subclass of ``Scenario`` with ``prepare`` (lab, site, approved plan), ``command`` and ``undo`` (the verbs that the
   notebook calls), ``records`` (what counts of ``world.site()``), ``broken`` and ``untrue`` (laws and honesty),
   ``clear`` and ``left_over``. Subclassing ``Move`` gives all but the first three.
3. Its name in ``SCENARIOS`` of :mod:`tests.sweep.sweeps`.

Requests that are no HTTP (IPMI, SNMP, SSH) are points as well: :mod:`tests.sweep.devices` wraps the drivers' sending
functions. They are disturbed where a driver answers: :mod:`tests.sweep.unwired`.
"""
