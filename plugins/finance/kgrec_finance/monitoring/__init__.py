"""When it turns: events counted in windows, what is usual, episodes, alerts, and why there was one."""
