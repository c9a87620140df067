"""Tools that know no word of CI."""
