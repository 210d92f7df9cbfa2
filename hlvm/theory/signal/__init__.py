"""Signal: how strongly training pulls each latent into a code, before anything is trained."""
