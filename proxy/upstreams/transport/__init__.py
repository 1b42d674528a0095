"""HTTP/1.1 towards a server: connections, how they are made and kept, and what fails before an answer."""
