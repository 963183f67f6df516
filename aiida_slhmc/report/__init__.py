"""What people look at: progress of a run, its table and its picture. Reads the graph, writes nothing into it."""
