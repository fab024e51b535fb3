"""Run the stages in processes of this machine, without Ray: read `supervisor.py` first."""
