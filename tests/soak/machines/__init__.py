"""Several machines, each a network namespace: links are cut, clocks differ, machines are lost."""
