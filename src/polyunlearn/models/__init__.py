"""Loading models, adapting them, and the forward passes that everything above shares."""
