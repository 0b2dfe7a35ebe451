"""What an article is: its files, the companies that it names, how a run reads it and what a run says of it."""
