"""What a person sees of a study: the terminal, one HTML file, and the figures as JSON and CSV."""
