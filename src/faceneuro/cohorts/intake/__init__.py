"""From a folder of somebody's copy of a data set to a list of clips: what every adapter of this package goes by."""
