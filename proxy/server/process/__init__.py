"""How the processes of one instance start, are supervised, reload their settings, and end."""
