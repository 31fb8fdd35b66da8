"""Those who look: the console's server. Later canaries."""
