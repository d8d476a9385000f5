"""Ten garments: when a network that draws clothes decides which, beside the network that draws digits."""
