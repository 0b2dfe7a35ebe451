"""Where articles come from while they are written: files that grow, standard input, RSS and Atom feeds, as events with offsets."""
