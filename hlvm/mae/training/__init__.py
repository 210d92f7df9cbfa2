"""Training of ensembles: data, masks, programs, devices and states."""
