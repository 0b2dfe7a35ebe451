"""What a run looks like to people: the HTML page, its plots, the model card."""
