"""Tables and figures for people; they read tables only."""
