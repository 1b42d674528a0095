"""What all of Poe's APIs have alike: connections, answers as they arrive, faults with their names."""
