"""Reading a solution: numbers, equations and steps."""
