"""Sets of labels for others: archives and extended XYZ that leave nothing behind, and checks of what comes in."""
