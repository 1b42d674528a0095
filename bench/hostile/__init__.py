"""What strangers, clients, bots and Poe could send to do harm, and what others notice of it while it is under way."""
