"""Episodes: worlds that answer, users who know, policies that act, and the record of what happened."""
