"""Long runs that try to break a promise: each prints what it tried, and replays what it found.

`python -m campaigns.<name> KEY=VALUE …` (`make campaign-<name>`). They end with 0 when every
promise was held, with 1 when one was broken, with 2 when they were asked wrongly, with 130 after
Ctrl-C.

    cut.py      power cuts under the real ledger and writer, on a disk in memory. kinds.py: kinds of
                story; stories.py and returning.py: what happens until then, on a disk that stays
                and on one that is away; scribe.py: what is recorded; account.py: what must be there
                afterwards; outcomes.py: what came of it
    faults.py   every single call to the disk, the broker and the bus goes wrong once under the real
                daemon. fault_school.py: the school; fault_disk.py, fault_broker.py, fault_bus.py
    kill.py     kill -9 of the real process at random moments. kill_school.py: the processes;
                kill_fingers.py: who presses; kill_story.py: when; kill_account.py and
                kill_evidence.py: the judgement; kill_planted.py: defects it must catch
    sim.py      a told year under virtual time. sim_year.py: its days; sim_story.py, sim_doors.py:
                what people do; sim_weather.py, sim_faults.py: what befalls them; sim_told.py: how
                it is told; sim_rest.py: is it at rest; sim_audit.py, sim_causes.py, sim_clocks.py,
                sim_spans.py: the auditor
    power.py    power cuts of an emulated machine with systemd and a gpiochip. power_story.py: its
                lives; power_account.py: what was promised; power_proof.py: the unit; power_disk.py:
                a disk that forgets; power_site.py, power_vm.py, vm/: the machine
    words.py    what all of them read and print
"""
