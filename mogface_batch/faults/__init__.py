"""What protects a job from images, processes and signals that end it: a ledger of deaths, a watchdog, signals."""
