"""What a fit learns besides its own labelled edges: from a teacher, and from texts that nobody has labelled."""
