"""Who is at home, from several signs of each person."""
